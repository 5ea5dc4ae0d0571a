/*
 * Takes from a process what it asks the kernel by: SILENT=links refuses netlink sockets, SILENT=addresses the list of
 * addresses. Preloaded by a test; never shipped.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <ifaddrs.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static bool silent(const char *about)
{
  const char *which = getenv("SILENT");
  errno = EMFILE;
  return which != NULL && strcmp(which, about) == 0;
}

int socket(int domain, int type, int protocol)
{
  if (domain == AF_NETLINK && silent("links"))
    return -1;
  return ((__typeof__(&socket))dlsym(RTLD_NEXT, "socket"))(domain, type, protocol);
}

int getifaddrs(struct ifaddrs **list)
{
  if (silent("addresses"))
    return -1;
  return ((__typeof__(&getifaddrs))dlsym(RTLD_NEXT, "getifaddrs"))(list);
}
