/*
 * Ethernet frames in and out of one interface through an AF_PACKET socket.
 *
 * It must not judge frames, keep none, and never wait.
 */
#ifndef KEDGE_PORTS_H
#define KEDGE_PORTS_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/packet.h"

#define KEDGE_MAX_PORTS 64u
#define KEDGE_BATCH 16u /* a full batch of 64 takes 150 us; acknowledgements wait for the batch */
/* The largest segmentation-offload frame with its headers, and room to put a VLAN tag back in front. */
#define KEDGE_FRAME_BYTES (65536u + 512u)
#define KEDGE_FRAME_ROOM 16u

/*
 * As the kernel's struct virtio_net_hdr: offload state travels with the frame, so that a checksum which
 * the sender left to its interface is still made by the receiver's (PACKET_VNET_HDR).
 */
struct kedge_offload {
  uint8_t flags, gso_type;
  uint16_t header_length, gso_size, checksum_start, checksum_offset;
};

struct mmsghdr;

struct kedge_frame {
  uint8_t *at; /* destination MAC */
  size_t length;
  struct kedge_offload offload;
  uint8_t *buffer; /* KEDGE_FRAME_ROOM + KEDGE_FRAME_BYTES, owned by the batch */
};

struct kedge_port {
  char name[IFNAMSIZ];
  unsigned zone;
  uint64_t rate;      /* bits per second on the wire; 0 = as the interface takes them */
  int interface;
  int fd;             /* -1 = closed */
  uint64_t unsent;    /* frames lost because the interface was down or could not carry them */
  uint64_t unreadable;/* frames that the kernel could not hand over whole */
  uint64_t missed;    /* frames that the kernel dropped because we were late (read at the end) */
};

/*
 * Whether what the interface may still do to a frame (checksum, segmentation) leaves alone what it is judged by;
 * `packet` is the parsed frame.
 */
bool kedge_frame_offload_holds(const struct kedge_frame *frame, const struct kedge_packet *packet);

/* Opens the socket, bound and promiscuous, own frames not looped back. False with errno; `what` says at what. */
bool kedge_port_open(struct kedge_port *port, const char **what);
void kedge_port_close(struct kedge_port *port);

/* True where the interface belongs to a bridge, a bond or the like, which would take its frames too. */
bool kedge_port_is_enslaved(const char *name);

/*
 * Takes up to KEDGE_BATCH waiting frames into `frame`, VLAN tags put back where the kernel took them off.
 * Returns how many were taken off the queue; `*count` of them are whole. -1 when the interface is gone.
 */
int kedge_port_receive(struct kedge_port *port, struct kedge_frame frame[KEDGE_BATCH], unsigned *count);

/*
 * Sends frames, each one message of its offload state and its bytes. Returns how many were dealt with, `*left` of
 * them left and the others lost; where that is fewer than `count`, the kernel takes no more for the moment.
 */
unsigned kedge_port_send(struct kedge_port *port, struct mmsghdr *message, unsigned count, unsigned *left);

#endif
