/* devnp-test.so: a driver without a device for tests of the plug-in boundary. It attaches what its options
 * say, fails when they say so, and tells the log what is called. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <iopkt/driver.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COUNT, FAIL, PREFIX, MTU_MIN, MTU_MAX, QUEUES, TEXT, FLAG, STATION, STACK, LATE, NO_OPS, WAIT, OVERRUN, OPENINGS, OLDER, OPTIONS };

static const iopkt_driver_option options[OPTIONS] = {
    {"count", "interfaces", "Attach so many.", IOPKT_OPTION_NUMBER, 1, 0, 100, NULL},
    {"fail", "", "Answer this errno after the attachments.", IOPKT_OPTION_NUMBER, 0, 0, 200, NULL},
    {"prefix", "", "Default prefix.", IOPKT_OPTION_TEXT, 0, 0, 20, NULL},
    {"mtu_min", "bytes", "Claimed.", IOPKT_OPTION_NUMBER, 68, 0, 100000, NULL},
    {"mtu_max", "bytes", "Claimed.", IOPKT_OPTION_NUMBER, 9000, 0, 100000, NULL},
    {"queues", "", "Claimed.", IOPKT_OPTION_NUMBER, 1, 0, 100, NULL},
    {"text", "", "Any.", IOPKT_OPTION_TEXT, 0, 2, 5, "abc"},
    {"flag", "", "Any.", IOPKT_OPTION_FLAG, 0, 0, 1, NULL},
    {"station", "", "Any.", IOPKT_OPTION_MAC, 0, 0, 0, NULL},
    {"stack", "", "Log the size of the stack of open.", IOPKT_OPTION_FLAG, 0, 0, 1, NULL},
    {"late", "", "Attach once more when the interface starts.", IOPKT_OPTION_FLAG, 0, 0, 1, NULL},
    {"no_ops", "", "Attach without a transmit call.", IOPKT_OPTION_FLAG, 0, 0, 1, NULL},
    {"wait", "path", "A named pipe: open waits until somebody writes to it.", IOPKT_OPTION_TEXT, 0, 0, 200, NULL},
    {"overrun", "", "Use more stack than there is.", IOPKT_OPTION_FLAG, 0, 0, 1, NULL},
    {"openings", "", "Claimed, of queues.", IOPKT_OPTION_NUMBER, 0, 0, 100, NULL},
    {"older", "", "Attach as a driver that knows of no openings_queues.", IOPKT_OPTION_FLAG, 0, 0, 1, NULL},
};

struct device {
  const iopkt_host* host;
  iopkt_interface* interface;
  int number, late;
};

static void say(const struct device* device, const char* what) {
  char line[64];
  snprintf(line, sizeof line, "test %d: %s", device->number, what);
  device->host->log(device->host->ctx, IOPKT_LOG_INFO, line);
}

static int start(void* context) {
  struct device* device = context;
  say(device, "start");
  device->host->link_state(device->host->ctx, device->interface, 0, 100);
  if (!device->late) return 0;
  iopkt_device_info info;
  memset(&info, 0, sizeof info);
  info.size = sizeof info;
  return device->host->attach(device->host->ctx, &info, &device->interface);
}
static void stop(void* context) { say(context, "stop"); }
static void detach(void* context) {
  say(context, "detach");
  free(context);
}
static int receive(void* context, uint32_t queue, iopkt_frame** frames, uint32_t max) {
  (void)context, (void)queue, (void)frames, (void)max;
  return 0;
}
static int transmit(void* context, uint32_t queue, iopkt_frame* const* frames, uint32_t count) {
  (void)context, (void)queue, (void)frames;
  return (int)count;
}
static int descriptor(void* context, uint32_t queue, int tx) {
  (void)context, (void)queue, (void)tx;
  return -1;
}

static const iopkt_device_ops ops = {.size = sizeof ops,
                                     .start = start,
                                     .stop = stop,
                                     .receive = receive,
                                     .transmit = transmit,
                                     .descriptor = descriptor,
                                     .detach = detach};
static const iopkt_device_ops no_transmit = {.size = sizeof ops,
                                             .start = start,
                                             .stop = stop,
                                             .receive = receive,
                                             .descriptor = descriptor,
                                             .detach = detach};

static void say_stack(const iopkt_host* host) {
  pthread_attr_t attributes;
  size_t size = 0;
  char line[64];
  if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
    pthread_attr_getstacksize(&attributes, &size);
    pthread_attr_destroy(&attributes);
  }
  snprintf(line, sizeof line, "stack %zu", size);
  host->log(host->ctx, IOPKT_LOG_INFO, line);
}

/* A page for each level: none of the stack's guards is jumped over. */
static int overrun(int levels) {
  volatile char page[4096];
  page[0] = (char)levels;
  return levels == 0 ? 0 : overrun(levels - 1) + page[0];
}

static int attach_one(const iopkt_host* host, const iopkt_generic_options* generic,
                      const iopkt_option_value* values, int number) {
  struct device* device = calloc(1, sizeof *device);
  if (!device) return -ENOMEM;
  device->host = host;
  device->number = number;
  device->late = values[LATE].number != 0;
  /* All that is borrowed for the call lies on this stack, so that a reader that keeps it is found out. */
  char prefix[32], description[32];
  snprintf(prefix, sizeof prefix, "%s", values[PREFIX].text ? values[PREFIX].text : "");
  snprintf(description, sizeof description, "test device %d", number);
  iopkt_device_info info;
  memset(&info, 0, sizeof info);
  info.size = sizeof info;
  info.device = device;
  info.ops = values[NO_OPS].number ? &no_transmit : &ops;
  info.link_type = IOPKT_LINK_ETHERNET;
  info.prefix = values[PREFIX].text ? prefix : NULL;
  if (generic->mac_given) memcpy(info.mac, generic->mac, 6);
  info.mtu = generic->mtu ? generic->mtu : 1500;
  info.mtu_min = (uint32_t)values[MTU_MIN].number;
  info.mtu_max = (uint32_t)values[MTU_MAX].number;
  info.rx_queues = info.tx_queues = (uint32_t)values[QUEUES].number;
  info.link_up = 1;
  info.speed_mbps = 10;
  info.description = description;
  info.openings_queues = (uint32_t)values[OPENINGS].number;
  if (values[OLDER].number) info.size = offsetof(iopkt_device_info, openings_queues);
  int rc = host->attach(host->ctx, &info, &device->interface);
  memset(prefix, 'x', sizeof prefix);
  memset(description, 'x', sizeof description);
  if (rc != 0) free(device);
  return rc;
}

static int test_open(const iopkt_host* host, const iopkt_generic_options* generic,
                     const iopkt_option_value* values) {
  if (values[STACK].number) say_stack(host);
  if (values[WAIT].text) close(open(values[WAIT].text, O_RDONLY | O_CLOEXEC));
  if (values[OVERRUN].number) overrun(1 << 20);
  for (int i = 0; i < values[COUNT].number; ++i) {
    int rc = attach_one(host, generic, values, i);
    if (rc != 0) return rc;
  }
  if (values[FAIL].number) host->log(host->ctx, IOPKT_LOG_ERROR, "the device is on fire");
  return -(int)values[FAIL].number;
}

IOPKT_EXPORT const iopkt_driver iopkt_driver_entry = {.abi = IOPKT_DRIVER_ABI,
                                                      .size = sizeof(iopkt_driver),
                                                      .name = "test",
                                                      .help = "Does what it is told.",
                                                      .version = "1",
                                                      .options = options,
                                                      .option_count = OPTIONS,
                                                      .open = test_open};
