/* The whole contract between the stack and a devnp-*.so. Plain C11: no C++ type, exception or allocator crosses it.
 * Calls answer 0 (or a count) or a negative errno. The ABI grows by appending only: a reader checks `size` before it
 * touches a field that is newer than ABI 1.
 *
 * A driver is loaded, `open` is called once with its options, and it attaches one or more interfaces through the host.
 * Each interface has receive and transmit queues; each queue is polled by one shard thread of the stack at a time, so a
 * driver needs no lock of its own for a queue. */
#ifndef IOPKT_DRIVER_H
#define IOPKT_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define IOPKT_DRIVER_ABI 1u
/* The one symbol that the stack looks up: `const iopkt_driver iopkt_driver_entry`. */
#define IOPKT_DRIVER_SYMBOL "iopkt_driver_entry"

#if defined(__GNUC__)
#define IOPKT_EXPORT __attribute__((visibility("default")))
#else
#define IOPKT_EXPORT
#endif

/* ---- frames ------------------------------------------------------------------------------------------------- */

typedef struct iopkt_piece {
  uint8_t *data;
  uint32_t len; /* bytes of this piece that belong to the frame */
  uint32_t capacity; /* receive: bytes that may be written from `data` on; transmit: equal to len */
} iopkt_piece;

enum { /* iopkt_frame.flags */
  IOPKT_CSUM_NEEDED = 1u << 0, /* transmit: 16-bit ones' complement sum of bytes csum_start..end, written at
                                  csum_start + csum_offset; the field holds the pseudo-header's part.
                                  receive: the sender left it so (a virtual link); it counts as valid */
  IOPKT_CSUM_VALID = 1u << 1,  /* receive: transport checksum was checked and is right */
  IOPKT_GSO_TCP4 = 1u << 2,    /* a TCP/IPv4 packet to be cut (or coalesced from) gso_size payload bytes each */
  IOPKT_GSO_TCP6 = 1u << 3,
  IOPKT_GSO_UDP = 1u << 4,     /* UDP datagrams of gso_size payload bytes each */
  IOPKT_HASH_VALID = 1u << 5,
  IOPKT_VLAN_VALID = 1u << 6,  /* vlan_tci was stripped from (or is to be inserted into) the frame */
  IOPKT_TIME_VALID = 1u << 7,
  IOPKT_GSO_ECN = 1u << 8,     /* with GSO_TCP*: CWR is set on the first segment only */
  IOPKT_FRAME_HOST = 1u << 16  /* this bit and the ones above belong to the stack */
};

/* A frame: the link header first, no frame check sequence. Only the holder may touch it. */
typedef struct iopkt_frame {
  struct iopkt_frame *next; /* for the holder's own lists */
  iopkt_piece *piece;       /* piece_count pieces, in order */
  uint16_t piece_count, piece_capacity;
  uint32_t len;             /* sum of the pieces' len */
  uint32_t flags;
  uint32_t hash;            /* the device's flow hash */
  uint16_t csum_start;      /* from the first byte of the frame */
  uint16_t csum_offset;     /* from csum_start */
  uint16_t gso_size;        /* payload bytes per segment */
  uint16_t header_len;      /* link + network + transport header, with GSO */
  uint16_t vlan_tci;
  uint16_t txq;             /* SO_TXPRIO's value, 0 without one */
  uint64_t time_ns;         /* CLOCK_REALTIME of arrival, with TIME_VALID */
} iopkt_frame;

/* ---- what the stack offers ------------------------------------------------------------------------------------ */

typedef struct iopkt_interface iopkt_interface; /* the stack's side of an attached interface */
struct iopkt_device_info;

enum { IOPKT_LOG_ERROR, IOPKT_LOG_WARNING, IOPKT_LOG_NOTICE, IOPKT_LOG_INFO, IOPKT_LOG_DEBUG };

typedef struct iopkt_host {
  uint32_t abi, size;
  void *ctx; /* first argument of each call below; outlives the device */
  /* Attaches an interface; `info` is borrowed for the call. During `open` only. */
  int (*attach)(void *ctx, const struct iopkt_device_info *info, iopkt_interface **out);
  /* A frame whose pieces have at least `capacity` bytes of room together (each piece a cluster; the first has
   * headroom in front). Every piece's len and all metadata are 0: the driver sets len of each piece that it filled, in
   * order and without a gap, and frame->len; piece_count stays, the stack takes back pieces that are still empty. A
   * driver may offer pieces[i].data only up to its capacity. capacity: 1..65600.
   * NULL: the pool is empty, drop and count. Only inside `receive`. */
  iopkt_frame *(*alloc)(void *ctx, uint32_t capacity);
  /* Gives a frame back: one from alloc that was not handed on. Only inside `receive`/`transmit`. */
  void (*release)(void *ctx, iopkt_frame *frame);
  /* Carrier and speed changed. Any thread. speed in Mbit/s, 0 unknown. */
  void (*link_state)(void *ctx, iopkt_interface *, int up, uint32_t speed_mbps);
  /* One line for the log. Any thread. */
  void (*log)(void *ctx, int level, const char *line);
} iopkt_host;

/* ---- what a driver is ------------------------------------------------------------------------------------------- */

typedef enum iopkt_option_kind {
  IOPKT_OPTION_NUMBER, /* decimal or 0x hexadecimal, min..max */
  IOPKT_OPTION_FLAG,   /* present, or =0 / =1 */
  IOPKT_OPTION_TEXT,   /* any text without a comma, min..max bytes long */
  IOPKT_OPTION_MAC     /* 12 hexadecimal digits, with or without colons or dashes */
} iopkt_option_kind;

typedef struct iopkt_driver_option {
  const char *name, *unit, *help;
  iopkt_option_kind kind;
  int64_t initial, min, max; /* NUMBER, FLAG: values; TEXT: min and max length */
  const char *initial_text;  /* TEXT; NULL: not given */
} iopkt_driver_option;

/* The parsed value of the option row with the same index. */
typedef struct iopkt_option_value {
  int given; /* 0: the row's initial value stands here */
  int64_t number;
  const char *text; /* NUL-terminated, borrowed for `open`; NULL when neither given nor initial */
  uint8_t mac[6];
} iopkt_option_value;

/* Every driver also takes these; the stack parses them and hands them on in `generic`. */
typedef struct iopkt_generic_options {
  uint32_t size;
  int mac_given;
  uint8_t mac[6];
  uint32_t mtu;     /* 0: the driver's own */
  uint32_t verbose; /* 0 quiet .. 10 */
  uint32_t rx_queues; /* how many receive queues the stack would like: its number of shards */
} iopkt_generic_options;

enum { /* iopkt_device_info.capabilities */
  IOPKT_CAP_CSUM_TX = 1u << 0,  /* takes IOPKT_CSUM_NEEDED */
  IOPKT_CAP_CSUM_RX = 1u << 1,
  IOPKT_CAP_TSO4 = 1u << 2,
  IOPKT_CAP_TSO6 = 1u << 3,
  IOPKT_CAP_USO = 1u << 4,      /* takes IOPKT_GSO_UDP */
  IOPKT_CAP_LARGE_RX = 1u << 5, /* may deliver GSO frames */
  IOPKT_CAP_VLAN = 1u << 6,
  IOPKT_CAP_TXQ = 1u << 7       /* honours iopkt_frame.txq */
};

enum iopkt_link_type { IOPKT_LINK_ETHERNET = 1, IOPKT_LINK_RAW_IP = 12 };

typedef struct iopkt_statistics { /* what only the driver can see; frames and bytes are counted by the stack */
  uint32_t size;
  uint64_t rx_errors, rx_dropped, tx_errors, tx_dropped, rx_no_buffer;
  uint64_t rx_openings_dropped; /* of rx_dropped, those that found no room in queues for openings, where that is known */
} iopkt_statistics;

/* Calls on one interface. `device` is info.device. Unless said otherwise a call comes from one thread at a time. */
typedef struct iopkt_device_ops {
  uint32_t size;
  /* Bring the device up (repeatable) / take it down. The control thread. */
  int (*start)(void *device);
  void (*stop)(void *device);
  /* Up to `max` frames of a queue, taken from host->alloc. Answers the count; 0: nothing now; negative: the device
   * failed for good. Never blocks. */
  int (*receive)(void *device, uint32_t queue, iopkt_frame **frames, uint32_t max);
  /* Takes frames 0..n-1 of `frames` and answers n <= count; a frame taken was sent or counted in tx_errors/tx_dropped.
   * The pieces are readable during the call only: the stack keeps the frames and frees them afterwards. n < count: no
   * room now, offered again when the queue's transmit descriptor turns writable. Never blocks. */
  int (*transmit)(void *device, uint32_t queue, iopkt_frame *const *frames, uint32_t count);
  /* A descriptor that polls readable when `receive` has work and (tx != 0) writable when `transmit` has room; -1: none,
   * the device must be polled. Level-triggered. It stays the driver's. */
  int (*descriptor)(void *device, uint32_t queue, int tx);
  /* 0 or -EOPNOTSUPP / -EINVAL. The control thread; NULL when the device cannot. */
  int (*set_mac)(void *device, const uint8_t mac[6]);
  int (*set_mtu)(void *device, uint32_t mtu);
  int (*set_promiscuous)(void *device, int on);
  int (*set_multicast)(void *device, const uint8_t (*macs)[6], uint32_t count);
  void (*statistics)(void *device, iopkt_statistics *out);
  /* Undo everything that was done to the host; afterwards no call in either direction. */
  void (*detach)(void *device);
  /* Milliseconds until `receive` should be called even when the descriptor is quiet; -1: never. NULL: never. */
  int (*timeout_ms)(void *device, uint32_t queue);
  /* The station at this address (4 bytes of IPv4, 16 of IPv6) has completed a handshake, so it is no forged one: its next
   * `credit` frames that ask for a connection should not wait in the queues for those; 0: they are used up. The driver
   * counts: the stack tells when that becomes more, and not always when it is 0. Any shard thread, also several at a time;
   * never blocks. NULL: the driver does not tell stations apart. */
  void (*credit)(void *device, const uint8_t *address, uint32_t length, uint32_t credit);
} iopkt_device_ops;

typedef struct iopkt_device_info {
  uint32_t size;
  void *device;
  const iopkt_device_ops *ops;
  enum iopkt_link_type link_type;
  const char *prefix; /* interface name without its number, unless name= says otherwise; NULL: the driver's name */
  uint8_t mac[6];
  uint32_t mtu, mtu_min, mtu_max; /* payload of a frame, without the link header */
  uint32_t capabilities;
  uint32_t rx_queues, tx_queues; /* each 1..64 */
  uint32_t speed_mbps;           /* 0: unknown */
  int link_up;
  const char *description; /* one line for nicinfo */
  uint32_t openings_queues; /* the last so many of rx_queues bring only frames that ask for new connections (TCP SYNs) or
                               may do so: the stack takes no more of them than it has time for, and in their queue they
                               take no room of others. Less than rx_queues */
} iopkt_device_info;

typedef struct iopkt_driver {
  uint32_t abi, size; /* IOPKT_DRIVER_ABI and sizeof(iopkt_driver) at the driver's build */
  const char *name;   /* "tap" for devnp-tap.so; default interface prefix */
  const char *help;   /* one line */
  const char *version;
  const iopkt_driver_option *options;
  uint32_t option_count;
  /* Finds the device(s) and attaches each. values[i] belongs to options[i]. Answers 0 when at least one was attached,
   * -ENODEV when there is none, -EINVAL when an option's value makes no sense; the last error it logs says why. On an
   * error everything already attached is detached by the stack. */
  int (*open)(const iopkt_host *host, const iopkt_generic_options *generic, const iopkt_option_value *values);
} iopkt_driver;

#ifdef __cplusplus
}
#endif
#endif
