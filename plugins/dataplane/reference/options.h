/*
 * The forwarder's command line.
 *
 * It must accept nothing that it does not understand wholly.
 */
#ifndef KEDGE_OPTIONS_H
#define KEDGE_OPTIONS_H

#include "../core/governor.h"
#include "ports.h"

#define KEDGE_EXIT_UNEXPECTED 1
#define KEDGE_EXIT_USAGE 2
#define KEDGE_EXIT_REFUSED 3

struct kedge_forwarder_options {
  struct kedge_governor_options governor;
  struct kedge_port port[KEDGE_MAX_PORTS];
  unsigned ports;
  int cpu;                       /* -1 = anywhere */
  int fifo;                      /* 0 = ordinary priority */
  bool poll;                     /* never sleep */
  bool allow_kernel_forwarding;
};

/* True: go on. False: leave with `*status`; everything was said already. */
bool kedge_options_read(struct kedge_forwarder_options *options, int argc, char **argv, int *status);

#endif
