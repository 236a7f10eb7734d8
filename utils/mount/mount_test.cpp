#include "utils/mount/mount.hpp"

#include <gtest/gtest.h>

namespace iopkt::utils {
namespace {

TEST(Mount, TypesOfAStack) {
  const std::pair<const char*, std::optional<std::uint32_t>> cases[] = {
      {"io-pkt", 0},    {"io-pkt0", 0}, {"io-pkt1", 1},    {"io-pkt12", 12},
      {"io-net", 0},    {"tcpip", 0},   {"ext4", {}},      {"io-pktx", {}},
      {"io-pkt-1", {}}, {"", {}},       {"io-pkt0x1", {}}, {"io-pkt4294967296", {}},
  };
  for (const auto& [type, number] : cases) EXPECT_EQ(stack_type(type), number) << type;
}

TEST(Mount, SpellingsOfThePage) {
  const Words spellings[] = {
      {"-Tio-pkt1", "-o", "mac=001122334455", "devnp-tap.so"},
      {"-T", "io-pkt1", "-omac=001122334455", "devnp-tap.so"},
      {"devnp-tap.so", "-T", "io-pkt1", "-o", "mac=001122334455"},
  };
  for (const Words& words : spellings) {
    const MountRequest request = read_mount(words);
    EXPECT_TRUE(request.ours);
    EXPECT_EQ(request.fault, "");
    EXPECT_EQ(request.instance, 1u);
    EXPECT_EQ(request.driver, "devnp-tap.so");
    EXPECT_EQ(request.options, "mac=001122334455");
  }
  EXPECT_EQ(read_mount({"-T", "io-pkt", "-o", "a=1", "-o", "b", "x.so"}).options, "a=1,b");
}

TEST(Mount, TheHostsOwnIsLeftAlone) {
  for (const Words& words : {Words{}, Words{"-a"}, Words{"-t", "ext4", "/dev/sda1", "/mnt"},
                             Words{"-T", "/etc/fstab", "-a"}, Words{"-T"}})
    EXPECT_FALSE(read_mount(words).ours);
}

TEST(Mount, Help) {
  EXPECT_TRUE(read_mount({"-T", "io-pkt", "--help"}).help);
  EXPECT_FALSE(read_mount({"-T", "io-pkt", "-o", "--help", "a.so"}).help);
}

TEST(Mount, Mistakes) {
  for (const Words& words :
       {Words{"-T", "io-pkt"}, Words{"-T", "io-pkt", "a.so", "b.so"}, Words{"-T", "io-pkt", "-x", "a.so"}}) {
    const MountRequest request = read_mount(words);
    EXPECT_TRUE(request.ours);
    EXPECT_NE(request.fault, "");
  }
}

}  // namespace
}  // namespace iopkt::utils
