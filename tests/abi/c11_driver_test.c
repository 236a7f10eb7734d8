/* A driver and a stack, both in strict C11, through nothing but the installed header. */
#include <iopkt/driver.h>
#include <iopkt/version.h>
#include <stdio.h>
#include <string.h>

static iopkt_frame* held;
static iopkt_piece piece;
static uint8_t bytes[64];
static int released;

static int echo_start(void* device) {
  (void)device;
  return 0;
}
static void echo_stop(void* device) { (void)device; }
static int echo_receive(void* device, uint32_t queue, iopkt_frame** frames, uint32_t max) {
  const iopkt_host* host = device;
  (void)queue;
  if (max == 0) return 0;
  iopkt_frame* f = host->alloc(host->ctx, 14);
  if (f == NULL) return 0;
  memset(f->piece[0].data, 0xff, 14);
  f->piece[0].len = f->len = 14;
  frames[0] = f;
  return 1;
}
static int echo_transmit(void* device, uint32_t queue, iopkt_frame* const* frames, uint32_t count) {
  (void)device, (void)queue, (void)frames;
  return (int)count;
}
static int echo_descriptor(void* device, uint32_t queue, int tx) {
  (void)device, (void)queue, (void)tx;
  return -1;
}
static void echo_statistics(void* device, iopkt_statistics* out) { (void)device, (void)out; }
static void echo_detach(void* device) { (void)device; }

static const iopkt_device_ops ops = {
    .size = sizeof ops,
    .start = echo_start,
    .stop = echo_stop,
    .receive = echo_receive,
    .transmit = echo_transmit,
    .descriptor = echo_descriptor,
    .statistics = echo_statistics,
    .detach = echo_detach,
};

static int echo_open(const iopkt_host* host, const iopkt_generic_options* generic,
                     const iopkt_option_value* values) {
  (void)generic, (void)values;
  const iopkt_device_info info = {
      .size = sizeof info,
      .device = (void*)(uintptr_t)host,
      .ops = &ops,
      .link_type = IOPKT_LINK_ETHERNET,
      .mtu = 1500,
      .rx_queues = 1,
      .tx_queues = 1,
  };
  iopkt_interface* interface = NULL;
  return host->attach(host->ctx, &info, &interface);
}

static const iopkt_driver driver = {IOPKT_DRIVER_ABI, sizeof driver, "echo", "C11 only.",
                                    IOPKT_VERSION,    NULL,          0,      echo_open};

static iopkt_device_info attached;
static int on_attach(void* ctx, const iopkt_device_info* info, iopkt_interface** out) {
  attached = *info;
  *out = ctx;
  return 0;
}
static iopkt_frame* on_alloc(void* ctx, uint32_t capacity) {
  static iopkt_frame frame;
  (void)ctx;
  if (capacity > sizeof bytes) return NULL;
  piece = (iopkt_piece){bytes, 0, sizeof bytes};
  frame = (iopkt_frame){.piece = &piece, .piece_count = 1, .piece_capacity = 1};
  return held = &frame;
}
static void on_release(void* ctx, iopkt_frame* frame) {
  (void)ctx;
  released += frame == held;
}

int main(void) {
  const iopkt_host host = {.abi = IOPKT_DRIVER_ABI,
                           .size = sizeof host,
                           .attach = on_attach,
                           .alloc = on_alloc,
                           .release = on_release};
  const iopkt_generic_options generic = {.size = sizeof generic};
  iopkt_frame* frame = NULL;
  if (driver.open(&host, &generic, NULL) != 0 || attached.ops->start(attached.device) != 0) return 1;
  if (attached.ops->receive(attached.device, 0, &frame, 1) != 1 || frame != held || frame->len != 14)
    return 2;
  if (attached.ops->transmit(attached.device, 0, &frame, 1) != 1) return 3;
  host.release(host.ctx, frame);
  attached.ops->detach(attached.device);
  return released == 1 ? 0 : 4;
}
