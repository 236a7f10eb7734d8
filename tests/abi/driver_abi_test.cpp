// The layout of driver ABI 1, byte for byte: a driver built against it must load into every later stack. And
// the tables of the drivers that this build made.
#include <gtest/gtest.h>

#include <cctype>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "driver_host.hpp"

// LP64. Rows are added at the end of a struct only; a row that stands here never changes.
#define AT(type, field, offset) static_assert(offsetof(type, field) == (offset), #type "." #field)

AT(iopkt_piece, data, 0);
AT(iopkt_piece, len, 8);
AT(iopkt_piece, capacity, 12);
static_assert(sizeof(iopkt_piece) == 16);

AT(iopkt_frame, next, 0);
AT(iopkt_frame, piece, 8);
AT(iopkt_frame, piece_count, 16);
AT(iopkt_frame, piece_capacity, 18);
AT(iopkt_frame, len, 20);
AT(iopkt_frame, flags, 24);
AT(iopkt_frame, hash, 28);
AT(iopkt_frame, csum_start, 32);
AT(iopkt_frame, csum_offset, 34);
AT(iopkt_frame, gso_size, 36);
AT(iopkt_frame, header_len, 38);
AT(iopkt_frame, vlan_tci, 40);
AT(iopkt_frame, txq, 42);
AT(iopkt_frame, time_ns, 48);
static_assert(sizeof(iopkt_frame) == 56);

AT(iopkt_host, abi, 0);
AT(iopkt_host, size, 4);
AT(iopkt_host, ctx, 8);
AT(iopkt_host, attach, 16);
AT(iopkt_host, alloc, 24);
AT(iopkt_host, release, 32);
AT(iopkt_host, link_state, 40);
AT(iopkt_host, log, 48);

AT(iopkt_driver_option, name, 0);
AT(iopkt_driver_option, unit, 8);
AT(iopkt_driver_option, help, 16);
AT(iopkt_driver_option, kind, 24);
AT(iopkt_driver_option, initial, 32);
AT(iopkt_driver_option, min, 40);
AT(iopkt_driver_option, max, 48);
AT(iopkt_driver_option, initial_text, 56);
static_assert(sizeof(iopkt_driver_option) == 64, "an array in the driver: it cannot grow within ABI 1");

AT(iopkt_option_value, given, 0);
AT(iopkt_option_value, number, 8);
AT(iopkt_option_value, text, 16);
AT(iopkt_option_value, mac, 24);
static_assert(sizeof(iopkt_option_value) == 32, "an array in the stack: it cannot grow within ABI 1");

AT(iopkt_generic_options, size, 0);
AT(iopkt_generic_options, mac_given, 4);
AT(iopkt_generic_options, mac, 8);
AT(iopkt_generic_options, mtu, 16);
AT(iopkt_generic_options, verbose, 20);
AT(iopkt_generic_options, rx_queues, 24);

AT(iopkt_statistics, size, 0);
AT(iopkt_statistics, rx_errors, 8);
AT(iopkt_statistics, rx_dropped, 16);
AT(iopkt_statistics, tx_errors, 24);
AT(iopkt_statistics, tx_dropped, 32);
AT(iopkt_statistics, rx_no_buffer, 40);
AT(iopkt_statistics, rx_openings_dropped, 48);

AT(iopkt_device_ops, size, 0);
AT(iopkt_device_ops, start, 8);
AT(iopkt_device_ops, stop, 16);
AT(iopkt_device_ops, receive, 24);
AT(iopkt_device_ops, transmit, 32);
AT(iopkt_device_ops, descriptor, 40);
AT(iopkt_device_ops, set_mac, 48);
AT(iopkt_device_ops, set_mtu, 56);
AT(iopkt_device_ops, set_promiscuous, 64);
AT(iopkt_device_ops, set_multicast, 72);
AT(iopkt_device_ops, statistics, 80);
AT(iopkt_device_ops, detach, 88);
AT(iopkt_device_ops, timeout_ms, 96);
AT(iopkt_device_ops, credit, 104);

AT(iopkt_device_info, size, 0);
AT(iopkt_device_info, device, 8);
AT(iopkt_device_info, ops, 16);
AT(iopkt_device_info, link_type, 24);
AT(iopkt_device_info, prefix, 32);
AT(iopkt_device_info, mac, 40);
AT(iopkt_device_info, mtu, 48);
AT(iopkt_device_info, mtu_min, 52);
AT(iopkt_device_info, mtu_max, 56);
AT(iopkt_device_info, capabilities, 60);
AT(iopkt_device_info, rx_queues, 64);
AT(iopkt_device_info, tx_queues, 68);
AT(iopkt_device_info, speed_mbps, 72);
AT(iopkt_device_info, link_up, 76);
AT(iopkt_device_info, description, 80);
AT(iopkt_device_info, openings_queues, 88);

AT(iopkt_driver, abi, 0);
AT(iopkt_driver, size, 4);
AT(iopkt_driver, name, 8);
AT(iopkt_driver, help, 16);
AT(iopkt_driver, version, 24);
AT(iopkt_driver, options, 32);
AT(iopkt_driver, option_count, 40);
AT(iopkt_driver, open, 48);

static_assert(IOPKT_DRIVER_ABI == 1);
static_assert(IOPKT_CSUM_NEEDED == 1 && IOPKT_CSUM_VALID == 2 && IOPKT_GSO_TCP4 == 4 && IOPKT_GSO_TCP6 == 8 &&
              IOPKT_GSO_UDP == 16);
static_assert(IOPKT_HASH_VALID == 32 && IOPKT_VLAN_VALID == 64 && IOPKT_TIME_VALID == 128 &&
              IOPKT_GSO_ECN == 256);
static_assert(IOPKT_OPTION_NUMBER == 0 && IOPKT_OPTION_FLAG == 1 && IOPKT_OPTION_TEXT == 2 &&
              IOPKT_OPTION_MAC == 3);

namespace iopkt::abi_test {
namespace {

void check_row(const iopkt_driver_option& row, const char* before) {
  SCOPED_TRACE(row.name);
  EXPECT_TRUE(before == nullptr || std::strcmp(before, row.name) < 0) << "rows are sorted, each name once";
  for (const char* c = row.name; *c != '\0'; ++c)
    EXPECT_TRUE(std::islower(static_cast<unsigned char>(*c)) != 0 || *c == '_');
  for (const char* generic : {"mac", "mtu", "name", "unit", "verbose"})
    EXPECT_STRNE(row.name, generic) << "is the stack's";
  ASSERT_NE(row.help, nullptr);
  EXPECT_EQ(row.help[std::strlen(row.help) - 1], '.') << "help is a sentence";
  EXPECT_LE(row.min, row.max);
  if (row.kind == IOPKT_OPTION_TEXT) {
    EXPECT_GE(row.min, 0);
    if (row.initial_text != nullptr) {
      const auto len = static_cast<std::int64_t>(std::strlen(row.initial_text));
      EXPECT_TRUE(row.min <= len && len <= row.max);
    }
  } else {
    EXPECT_EQ(row.initial_text, nullptr);
    EXPECT_TRUE(row.min <= row.initial && row.initial <= row.max);
  }
  EXPECT_TRUE(row.kind != IOPKT_OPTION_FLAG || (row.min == 0 && row.max == 1 && row.unit == nullptr));
  EXPECT_TRUE(row.kind != IOPKT_OPTION_NUMBER || row.unit != nullptr);
}

TEST(DriverAbi, EveryDriverOfTheBuildHasASoundTable) {
  const char* build = std::getenv("IOPKT_BUILD_DIR");
  ASSERT_NE(build, nullptr);
  int found = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(build) + "/lib/io-pkt")) {
    const std::string file = entry.path().filename();
    if (!file.starts_with("devnp-") || !file.ends_with(".so")) continue;
    SCOPED_TRACE(file);
    ++found;
    const std::string name = file.substr(6, file.size() - 9);
    const DriverHost host{name};
    const iopkt_driver* driver = host.driver();
    ASSERT_NE(driver, nullptr) << host.log();
    EXPECT_EQ(driver->abi, IOPKT_DRIVER_ABI);
    EXPECT_EQ(driver->size, sizeof(iopkt_driver));
    EXPECT_EQ(driver->name, name);
    EXPECT_GT(std::strlen(driver->help), 10u);
    EXPECT_GT(std::strlen(driver->version), 0u);
    EXPECT_NE(driver->open, nullptr);
    for (std::uint32_t i = 0; i < driver->option_count; ++i)
      check_row(driver->options[i], i == 0 ? nullptr : driver->options[i - 1].name);
  }
  EXPECT_GE(found, 2); /* tap and packet need no library */
}

}  // namespace
}  // namespace iopkt::abi_test
