/*
 * The implementation of ports.h.
 *
 * It must hand over frames as they were on the wire, whatever the kernel took off them.
 */
#define _GNU_SOURCE
#include "ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

#define RECEIVE_BYTES (4 << 20)
/* What the kernel holds cannot be judged again: about two milliseconds at 1 Gbit/s, and the rest waits with us. */
#define SEND_BYTES (256 << 10)

_Static_assert(sizeof(struct kedge_offload) == sizeof(struct virtio_net_hdr), "offload state is the kernel's header");

bool kedge_port_open(struct kedge_port *port, const char **what)
{
  int on = 1, receive = RECEIVE_BYTES, send = SEND_BYTES;
  *what = "find";
  port->interface = (int)if_nametoindex(port->name);
  port->fd = -1;
  if (port->interface == 0)
    return false;
  *what = "open a packet socket for";
  /* Protocol 0: nothing is queued before the socket is bound to its interface. */
  port->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (port->fd < 0)
    return false;
  *what = "set up the packet socket of";
  struct packet_mreq promiscuous = {.mr_ifindex = port->interface, .mr_type = PACKET_MR_PROMISC};
  struct sockaddr_ll address = {
      .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = port->interface};
  if (setsockopt(port->fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) != 0 ||
      setsockopt(port->fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)) != 0 ||
      setsockopt(port->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof(promiscuous)) != 0)
    goto fail;
  /* Older kernels lack it; receiving then skips what is marked as outgoing. */
  setsockopt(port->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on));
  if (setsockopt(port->fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive, sizeof(receive)) != 0)
    setsockopt(port->fd, SOL_SOCKET, SO_RCVBUF, &receive, sizeof(receive));
  if (setsockopt(port->fd, SOL_SOCKET, SO_SNDBUFFORCE, &send, sizeof(send)) != 0)
    setsockopt(port->fd, SOL_SOCKET, SO_SNDBUF, &send, sizeof(send));
  *what = "bind to";
  if (bind(port->fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
    return true;
fail:;
  int saved = errno;
  close(port->fd);
  port->fd = -1;
  errno = saved;
  return false;
}

bool kedge_port_is_enslaved(const char *name)
{
  struct {
    struct nlmsghdr header;
    struct ifinfomsg link;
  } ask = {{sizeof(ask), RTM_GETLINK, NLM_F_REQUEST, 1, 0}, {.ifi_index = (int)if_nametoindex(name)}};
  union {
    struct nlmsghdr header;
    uint8_t bytes[16384];
  } answer;
  bool enslaved = false;
  if (ask.link.ifi_index == 0)
    return false;
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  ssize_t n = fd < 0 || send(fd, &ask, sizeof(ask), 0) < 0 ? -1 : recv(fd, &answer, sizeof(answer), 0);
  if (n > 0 && NLMSG_OK(&answer.header, (size_t)n) && answer.header.nlmsg_type == RTM_NEWLINK) {
    struct ifinfomsg *link = NLMSG_DATA(&answer.header);
    int left = (int)IFLA_PAYLOAD(&answer.header);
    for (struct rtattr *a = IFLA_RTA(link); RTA_OK(a, left); a = RTA_NEXT(a, left))
      enslaved |= a->rta_type == IFLA_MASTER;
  }
  if (fd >= 0)
    close(fd);
  return enslaved;
}

void kedge_port_close(struct kedge_port *port)
{
  if (port->fd < 0)
    return;
  struct tpacket_stats stats;
  socklen_t length = sizeof(stats);
  if (getsockopt(port->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &length) == 0)
    port->missed += stats.tp_drops;
  close(port->fd);
  port->fd = -1;
}

union control {
  char bytes[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
  struct cmsghdr align;
};

/* Puts the tag that the kernel took off back behind the addresses. */
static void retag(struct kedge_frame *frame, const struct tpacket_auxdata *aux)
{
  uint16_t type = (aux->tp_status & TP_STATUS_VLAN_TPID_VALID) != 0 ? aux->tp_vlan_tpid : ETH_P_8021Q;
  memmove(frame->at - 4, frame->at, 12);
  frame->at -= 4;
  frame->length += 4;
  frame->at[12] = (uint8_t)(type >> 8);
  frame->at[13] = (uint8_t)type;
  frame->at[14] = (uint8_t)(aux->tp_vlan_tci >> 8);
  frame->at[15] = (uint8_t)aux->tp_vlan_tci;
  if ((frame->offload.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0)
    frame->offload.checksum_start = (uint16_t)(frame->offload.checksum_start + 4);
  if (frame->offload.gso_type != VIRTIO_NET_HDR_GSO_NONE)
    frame->offload.header_length = (uint16_t)(frame->offload.header_length + 4);
}

bool kedge_frame_offload_holds(const struct kedge_frame *frame, const struct kedge_packet *packet)
{
  const struct kedge_offload *o = &frame->offload;
  if ((o->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0)
    return true;
  /* Segmentation takes its header to stand where the checksum starts. */
  return kedge_packet_checksum_holds(packet, o->checksum_start, o->checksum_offset) &&
         (o->gso_type == VIRTIO_NET_HDR_GSO_NONE || o->checksum_start == packet->transport);
}

int kedge_port_receive(struct kedge_port *port, struct kedge_frame frame[KEDGE_BATCH], unsigned *count)
{
  struct mmsghdr message[KEDGE_BATCH];
  struct iovec part[KEDGE_BATCH][2];
  struct sockaddr_ll from[KEDGE_BATCH];
  union control control[KEDGE_BATCH];
  *count = 0;
  for (unsigned i = 0; i < KEDGE_BATCH; i++) {
    part[i][0] = (struct iovec){&frame[i].offload, sizeof(frame[i].offload)};
    part[i][1] = (struct iovec){frame[i].buffer + KEDGE_FRAME_ROOM, KEDGE_FRAME_BYTES};
    message[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
                                         .msg_namelen = sizeof(from[i]),
                                         .msg_iov = part[i],
                                         .msg_iovlen = 2,
                                         .msg_control = &control[i],
                                         .msg_controllen = sizeof(control[i])};
  }
  int taken = recvmmsg(port->fd, message, KEDGE_BATCH, MSG_DONTWAIT, NULL);
  if (taken < 0) {
    if (errno == EAGAIN || errno == EINTR)
      return 0;
    /* Down comes back up; gone does not. */
    if (errno == ENETDOWN || errno == ENXIO || errno == ENODEV)
      return (int)if_nametoindex(port->name) == port->interface ? 0 : -1;
    port->unreadable++;
    return 0;
  }
  for (unsigned i = 0; i < (unsigned)taken; i++) {
    struct msghdr *header = &message[i].msg_hdr;
    if (from[i].sll_pkttype == PACKET_OUTGOING || from[i].sll_pkttype == PACKET_LOOPBACK)
      continue;
    if ((header->msg_flags & MSG_TRUNC) != 0 || message[i].msg_len < sizeof(struct kedge_offload)) {
      port->unreadable++;
      continue;
    }
    /* Frames close ranks by exchanging buffers, so that places in the batch stay without gaps. */
    struct kedge_frame *to = &frame[*count];
    if (to != &frame[i]) {
      struct kedge_frame other = *to;
      *to = frame[i];
      frame[i] = other;
    }
    to->at = to->buffer + KEDGE_FRAME_ROOM;
    to->length = message[i].msg_len - sizeof(struct kedge_offload);
    to->offload.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM; /* the rest says what the receiver found out */
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
      struct tpacket_auxdata aux;
      if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA || c->cmsg_len < CMSG_LEN(sizeof(aux)))
        continue;
      memcpy(&aux, CMSG_DATA(c), sizeof(aux));
      if ((aux.tp_status & TP_STATUS_VLAN_VALID) != 0 && to->length >= 12)
        retag(to, &aux);
    }
    ++*count;
  }
  return taken;
}

unsigned kedge_port_send(struct kedge_port *port, struct mmsghdr *message, unsigned count, unsigned *left)
{
  unsigned at = 0;
  *left = 0;
  while (at < count) {
    int n = sendmmsg(port->fd, message + at, count - at, MSG_DONTWAIT);
    if (n > 0) {
      *left += (unsigned)n;
      at += (unsigned)n;
    } else if (n < 0 && errno == EINTR) {
      continue;
    } else if (n < 0 && (errno == EAGAIN || errno == ENOBUFS)) {
      break; /* the socket's account or the interface's queue is full */
    } else {
      /* Down, or a frame that this interface cannot carry: that frame is lost, the next is tried. */
      port->unsent++;
      at++;
    }
  }
  return at;
}
