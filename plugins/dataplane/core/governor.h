/*
 * A data plane's side of the posture board: what a packet worker obeys now, and its acknowledgement.
 *
 * It must not know how packets come and go (AF_PACKET, VPP), start no thread and never wait: whatever may
 * take time (opening, verifying, prefaulting) is in loader.h. One governor per process; every worker has
 * its own struct and shares no cache line with another.
 *
 * A worker's batch:
 *     if (kedge_governor_begin(worker, now))          the word, the fail-closed line or the level changed
 *       { judge again or send out whatever was judged before;  kedge_governor_acknowledge(worker); }
 *     for each packet: kedge_packet_parse, then kedge_governor_judge per destination port, then
 *       kedge_governor_observe with the judgement that speaks for it
 */
#ifndef KEDGE_GOVERNOR_H
#define KEDGE_GOVERNOR_H

#include <stdbool.h>
#include <sys/types.h>

#include "banks.h"
#include "classify.h"
#include "flows.h"
#include "kedge/segment.h"

#define KEDGE_DEFAULT_SAFE_LEVEL KEDGE_LEVEL_EMERGENCY
#define KEDGE_DEFAULT_SILENCE_NS UINT64_C(10000000000)

enum kedge_source { KEDGE_SOURCE_POSTURE = 0, KEDGE_SOURCE_WARDEN = 1, KEDGE_SOURCE_TABLES = 2 };
#define KEDGE_SOURCES 3u

/* What the process was told. Strings stay the caller's and must outlive the governor. */
struct kedge_governor_options {
  const char *board;               /* the board directory */
  const char *name;                /* own segment is "dataplane-" + name */
  uid_t owner[KEDGE_SOURCES];      /* expected owner of posture, warden, tables */
  unsigned workers;                /* 1..KEDGE_MAX_WORKERS */
  unsigned safe_level;             /* 1..5 (DP-7) */
  uint64_t silence_ns;             /* both heartbeats older than this: safe level */
  unsigned flows;                  /* conversations that a worker remembers; 0 = none, otherwise as kedge_flows_bytes */
  /* Told about segments refused, found again, tables refused; from the loader's thread. May be NULL. */
  void (*notice)(void *context, const char *text);
  void *context;
};

/* One mapped segment of somebody else, with what the loader found in it. Never changes once published. */
struct kedge_mapping {
  struct kedge_segment segment;
  kedge_bank_finding finding[KEDGE_BANKS]; /* tables only */
  uint64_t looked_at;                      /* loader's: last generation judged */
  uint64_t looked_at_ns;                   /* loader's: and when */
  uint64_t retired_at;                     /* loader's: the turn at which it was taken away */
  struct kedge_mapping *next;              /* loader's: list of retired ones */
};

/* Who looks into mappings says which turn it has seen; a mapping taken away before that can go. */
struct kedge_reader {
  _Alignas(64) KEDGE_ATOMIC(uint64_t) turn;
  KEDGE_ATOMIC(uint32_t) active;
};

struct kedge_governor;

/* One packet worker. Fields are its own thread's; read them, do not write them. */
struct kedge_governor_worker {
  struct kedge_reader reader;
  struct kedge_governor *governor;
  struct kedge_worker *shared;
  unsigned index;

  kedge_word word;                       /* as last loaded; 0 while the posture segment is refused */
  kedge_word fail_closed;                /* as last loaded; level 1 while the warden's segment is refused */
  unsigned level;                        /* obeyed now, 1..5; 0 before the first begin */
  const struct kedge_level_table *table; /* of that level, or NULL: management minimum */
  bool safe;                             /* the safe level is in force */
  bool due;                              /* an acknowledgement is due */

  uint64_t epoch;                        /* highest seen */
  uint64_t seen_at_ns;                   /* when the state to be acknowledged was first seen */
  unsigned level_before;                 /* acknowledged last */
  struct kedge_ack_view acknowledged;    /* as last written */
  bool started;
  bool safe_told;
  const struct kedge_mapping *tables;
  struct kedge_bank_use use;
  uint32_t refusal_told[KEDGE_SOURCES];
  uint64_t dropped_pair, dropped_entry;
  struct kedge_flows flows;              /* without buckets where flows are off */
  uint64_t begun_told, evicted_told;
};

struct kedge_governor {
  struct kedge_governor_options options;
  struct kedge_segment own;
  struct kedge_dataplane_segment *shared;
  uint64_t opened_at_ns;
  uint64_t beat_at_ns;
  int memory_locked;                                /* errno of locking the own segment, 0 = locked */
  void *flow_memory;                                /* of all workers, made and touched when the governor opens */
  size_t flow_bytes;                                /* of one worker; 0 = flows are off */
  KEDGE_ATOMIC(uint64_t) turn;                      /* +1 each time a mapping is taken away */
  KEDGE_ATOMIC(struct kedge_mapping *) mapping[KEDGE_SOURCES]; /* NULL = refused */
  KEDGE_ATOMIC(uint32_t) refusal[KEDGE_SOURCES];    /* enum kedge_refusal */
  KEDGE_ATOMIC(uint64_t) silent_since_epoch;        /* 0 = heard; otherwise epoch + 1 when the silence was noticed */
  KEDGE_ATOMIC(uint32_t) loaded;                    /* private bell: mappings or findings changed */
  struct kedge_reader watch;                        /* of loader.h's kedge_watch */
  struct kedge_mapping *retired;
  struct kedge_governor_worker worker[KEDGE_MAX_WORKERS];
};

/*
 * Takes the own segment (a second process of the same name is refused with BUSY), marks no worker live,
 * and looks at the board once. A missing or refused segment of somebody else is no error: it is obeyed as
 * fail-closed (posture, warden) or as "no tables". Returns why the own segment could not be had: SYSTEM also where
 * there is no memory for flows, NAME also where their number is none that flows.h allows.
 */
enum kedge_refusal kedge_governor_open(struct kedge_governor *governor, const struct kedge_governor_options *options);

/* No worker may run any more. Flows end, workers show as gone, the segment stays for its next writer. */
void kedge_governor_close(struct kedge_governor *governor);

/* To be called by the worker's own thread before its first begin; the first begin is always due. */
struct kedge_governor_worker *kedge_governor_worker_start(struct kedge_governor *governor, unsigned index);

/*
 * Once per batch, before the first packet is judged: loads word, fail-closed line, heartbeats and table
 * generation. True while an acknowledgement is due. No system call, no wait.
 */
bool kedge_governor_begin(struct kedge_governor_worker *worker, uint64_t now_ns);

/*
 * To be called when no packet judged before the last begin remains with the worker (queues judged again,
 * transmit rings flushed). Stamps, writes the acknowledgement, then reads the context-switch counter, then
 * rings the own bell. Does nothing when none is due.
 */
void kedge_governor_acknowledge(struct kedge_governor_worker *worker);

/* Judges under the state of the last begin, and counts. */
void kedge_governor_judge(struct kedge_governor_worker *worker, const struct kedge_packet *packet,
                          unsigned source_zone, unsigned destination_zone, struct kedge_judgement *judgement);

/*
 * Counts a packet to its flow, and looks deeper into it where the level's table says so (DP-10, DP-12). `judgement`
 * is the one that speaks for the frame: of several ports the first that lets it pass, else the first. `frame` is
 * as it came, not marked yet. Does nothing where flows are off or the packet has none. Never waits.
 */
void kedge_governor_observe(struct kedge_governor_worker *worker, const uint8_t *frame,
                            const struct kedge_packet *packet, const struct kedge_judgement *judgement,
                            uint64_t now_ns);

/* Adds to the worker's counters of packets. */
void kedge_governor_count(struct kedge_governor_worker *worker, uint64_t received, uint64_t sent);

/* Renews the process's heartbeat when 50 ms have passed; by one thread only. */
void kedge_governor_beat(struct kedge_governor *governor, uint64_t now_ns);

/* Whether packets are being forwarded (PO-19). */
void kedge_governor_serving(struct kedge_governor *governor, bool serving);

/* Writes one event into a worker's ring (DP-8); by that worker's thread only. Never waits. */
void kedge_telemetry_write(struct kedge_governor_worker *worker, enum kedge_telemetry_kind kind, unsigned old_level,
                           unsigned new_level, uint64_t value, uint64_t at_ns);

/* Writes one record into a worker's ring of flows (DP-12); by that worker's thread only. Never waits. */
void kedge_flow_write(struct kedge_worker *shared, const struct kedge_flow_record *record);

#endif
