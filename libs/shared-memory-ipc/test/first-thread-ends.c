/* A process whose first thread ends while a second one runs, until it is killed. Built and run by a test only. */
#include <pthread.h>
#include <unistd.h>

static void *wait_for_ever(void *nothing)
{
  for (;;)
    pause();
  return nothing;
}

int main(void)
{
  pthread_t second;
  if (pthread_create(&second, NULL, wait_for_ever, NULL) != 0)
    return 1;
  pthread_exit(NULL);
}
