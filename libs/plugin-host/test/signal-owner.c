/*
 * Tries every way to have the kernel signal this process's parent over the socket that both share (descriptor 3), and
 * what of the same calls a plugin's runtime needs; says which were possible.
 * It must not make the socket asynchronous: nobody is really signalled.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void say(const char *what, int result)
{
  printf("%s %s\n", what, result == 0 ? "possible" : errno == EPERM ? "refused" : "failed");
}

int main(void)
{
  enum { SHARED = 3 };
  int parent = (int)getppid();
  int bytes;
  struct f_owner_ex owner = {.type = F_OWNER_PID, .pid = parent};
  say("F_SETOWN", fcntl(SHARED, F_SETOWN, parent));
  say("F_SETOWN_EX", fcntl(SHARED, F_SETOWN_EX, &owner));
  say("F_SETSIG", fcntl(SHARED, F_SETSIG, SIGKILL));
  say("FIOSETOWN", ioctl(SHARED, FIOSETOWN, &parent));
  say("SIOCSPGRP", ioctl(SHARED, SIOCSPGRP, &parent));
  say("F_SETFL", fcntl(SHARED, F_SETFL, O_NONBLOCK));
  say("FIONREAD", ioctl(SHARED, FIONREAD, &bytes));
  return 0;
}
