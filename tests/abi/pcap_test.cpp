// devnp-pcap: what is recorded can be played, with its gaps. Temporary files only.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "driver_host.hpp"

namespace iopkt::abi_test {
namespace {

class PcapDriver : public testing::Test {
 protected:
  void SetUp() override {
    if (pcap_.driver() == nullptr) GTEST_SKIP() << pcap_.log();
    char folder[] = "/tmp/iopkt-pcap-XXXXXX";
    ASSERT_NE(::mkdtemp(folder), nullptr);
    folder_ = folder;
  }
  void TearDown() override {
    EXPECT_EQ(pcap_.outstanding(), 0);
    for (const char* name : {"/a", "/b"}) (void)::unlink((folder_ + name).c_str());
    EXPECT_TRUE(folder_.empty() || ::rmdir(folder_.c_str()) == 0);
  }

  struct Record {
    std::uint32_t seconds, nanoseconds;
    std::size_t len, original;
  };
  static Bytes frame_of(std::size_t len) {
    Bytes f(len);
    for (std::size_t i = 0; i < len; ++i) f[i] = static_cast<std::uint8_t>(len + i * 3);
    return f;
  }
  /// A capture file in the classic format with nanoseconds, host byte order.
  std::string write_file(const std::vector<Record>& records, std::uint32_t link_type = 1) {
    const std::string path = folder_ + "/a";
    std::ofstream out{path, std::ios::binary};
    const auto put = [&out](std::uint32_t v) { out.write(reinterpret_cast<const char*>(&v), 4); };
    for (const std::uint32_t v : {0xa1b23c4du, 0x00040002u, 0u, 0u, 262144u, link_type}) put(v);
    for (const Record& r : records) {
      put(r.seconds);
      put(r.nanoseconds);
      put(static_cast<std::uint32_t>(r.len));
      put(static_cast<std::uint32_t>(r.original));
      const Bytes f = frame_of(r.len);
      out.write(reinterpret_cast<const char*>(f.data()), static_cast<std::streamsize>(f.size()));
    }
    return path;
  }
  Bytes contents(const std::string& path) {
    std::ifstream in{path, std::ios::binary};
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }
  /// All frames until the replay is over and the descriptor stays quiet.
  std::vector<Bytes> play() {
    EXPECT_EQ(pcap_.ops().start(pcap_.device()), 0);
    std::vector<Bytes> all;
    while (pcap_.wait_readable(100)) {
      for (Frame& f : pcap_.receive(0, 2)) all.push_back(std::move(f.bytes));
    }
    return all;
  }

  std::string folder_;
  DriverHost pcap_{"pcap"};
};

TEST_F(PcapDriver, PlaysWhatItRecorded) {
  ASSERT_EQ(pcap_.open("write=" + folder_ + "/a"), 0) << pcap_.log();
  EXPECT_EQ(pcap_.transmit({plain(frame_of(60)), plain(frame_of(1514)), plain(frame_of(9014))}, 0, 100), 3);
  EXPECT_EQ(pcap_.transmit({plain(frame_of(14))}), 1);
  EXPECT_TRUE(play().empty());
  pcap_.detach();
  const Bytes file = contents(folder_ + "/a");
  ASSERT_EQ(file.size(), 24 + 4 * 16 + 60 + 1514 + 9014 + 14u);
  std::uint32_t magic;
  std::memcpy(&magic, file.data(), 4);
  EXPECT_EQ(magic, 0xa1b23c4du); /* nanoseconds */

  ASSERT_EQ(pcap_.open("read=" + folder_ + "/a,speed=burst,loop=2"), 0) << pcap_.log();
  const std::vector<Bytes> once = {frame_of(60), frame_of(1514), frame_of(9014), frame_of(14)};
  std::vector<Bytes> twice = once;
  twice.insert(twice.end(), once.begin(), once.end());
  EXPECT_EQ(play(), twice);
}

TEST_F(PcapDriver, KeepsTheGapsDividedBySpeed) {
  // 1000 s between the frames; a later one that is older comes at once.
  const std::string path = write_file({{1000, 0, 60, 60}, {2000, 0, 61, 61}, {1500, 0, 62, 62}});
  ASSERT_EQ(pcap_.open("read=" + path + ",speed=1000"), 0) << pcap_.log();
  ASSERT_EQ(pcap_.ops().start(pcap_.device()), 0);
  ASSERT_TRUE(pcap_.wait_readable(10000));
  EXPECT_EQ(pcap_.receive().size(), 1u);
  EXPECT_FALSE(pcap_.wait_readable(0)); /* the next is due in a second */
  pcap_.ops().stop(pcap_.device());
  pcap_.detach();
  ASSERT_EQ(pcap_.open("read=" + path + ",speed=1000000"), 0) << pcap_.log();
  EXPECT_EQ(play(), (std::vector<Bytes>{frame_of(60), frame_of(61), frame_of(62)}));
}

TEST_F(PcapDriver, CountsFramesThatCannotBePlayed) {
  const std::string path =
      write_file({{1, 0, 13, 13}, {1, 1, 60, 1514}, {1, 2, 70000, 70000}, {1, 3, 64, 64}});
  ASSERT_EQ(pcap_.open("read=" + path + ",speed=burst"), 0) << pcap_.log();
  EXPECT_EQ(play(), std::vector<Bytes>{frame_of(64)});
  EXPECT_EQ(pcap_.statistics().rx_errors, 3u);
  pcap_.detach();

  ASSERT_EQ(::truncate(path.c_str(), 24 + 16 + 13 + 16 + 5), 0); /* ends within a frame */
  ASSERT_EQ(pcap_.open("read=" + path + ",speed=burst,loop=0"), 0) << pcap_.log();
  EXPECT_TRUE(play().empty());
  EXPECT_NE(pcap_.log().find("truncated"), std::string::npos) << pcap_.log();
  pcap_.detach();

  write_file({}); /* for ever nothing: ends */
  ASSERT_EQ(pcap_.open("read=" + path + ",speed=burst,loop=0"), 0) << pcap_.log();
  EXPECT_TRUE(play().empty());
  pcap_.detach();

  write_file({{1, 3, 64, 64}});
  ASSERT_EQ(pcap_.open("read=" + path + ",speed=burst"), 0) << pcap_.log();
  pcap_.pool_empty = true;
  EXPECT_TRUE(play().empty());
  EXPECT_EQ(pcap_.statistics().rx_no_buffer, 1u);
}

TEST_F(PcapDriver, KeepsSnaplenBytesAndTheTrueLength) {
  const std::string path = folder_ + "/b";
  ASSERT_EQ(pcap_.open("write=" + path + ",snaplen=64"), 0) << pcap_.log();
  Frame offloaded = plain(frame_of(60));
  offloaded.meta.flags = IOPKT_CSUM_NEEDED;
  EXPECT_EQ(pcap_.transmit({plain(frame_of(1514)), offloaded, plain({})}), 3);
  EXPECT_EQ(pcap_.statistics().tx_errors, 2u);
  const Bytes file = contents(path); /* readable while it is written */
  ASSERT_EQ(file.size(), 24 + 16 + 64u);
  std::uint32_t lengths[2];
  std::memcpy(lengths, file.data() + 32, 8);
  EXPECT_EQ(lengths[0], 64u);
  EXPECT_EQ(lengths[1], 1514u);
}

TEST_F(PcapDriver, AFullDiskEndsTheRecordingWithAMessage) {
  const std::string path = folder_ + "/b";
  ASSERT_EQ(pcap_.open("write=" + path), 0) << pcap_.log();
  ASSERT_EQ(::access("/dev/full", W_OK), 0);
  // The driver's stream now ends in a device that is always full.
  for (int fd = 3; fd < 256; ++fd) {
    struct stat ours{}, file{};
    if (::fstat(fd, &ours) != 0 || ::stat(path.c_str(), &file) != 0 || ours.st_ino != file.st_ino ||
        ours.st_dev != file.st_dev)
      continue;
    std::FILE* full = std::fopen("/dev/full", "w");
    ASSERT_NE(full, nullptr);
    ASSERT_EQ(::dup2(::fileno(full), fd), fd);
    std::fclose(full);
  }
  EXPECT_EQ(pcap_.transmit({plain(frame_of(60)), plain(frame_of(61))}), 2);
  EXPECT_EQ(pcap_.transmit({plain(frame_of(62))}), 1);
  EXPECT_EQ(pcap_.statistics().tx_dropped, 3u);
  EXPECT_NE(pcap_.log().find("No space left on device: nothing more is recorded"), std::string::npos)
      << pcap_.log();
}

TEST_F(PcapDriver, RefusesWhatItCannotUse) {
  const std::string ieee80211 = write_file({}, 105);
  {
    std::ofstream{folder_ + "/b"} << "this is not a capture file at all";
  }
  const struct {
    std::string options;
    const char* says;
    int answer;
  } rows[] = {
      {"", "read= or write= is needed", -EINVAL},
      {"read=/nonexistent/file", "read=/nonexistent/file: No such file", -ENOENT},
      {"read=/dev/null", "read=/dev/null: not a regular file", -EINVAL},
      {"read=" + folder_, "not a regular file", -EINVAL},
      {"read=" + folder_ + "/b", "unknown file format", -EINVAL},
      {"read=" + ieee80211, "link type IEEE802_11 (105), not Ethernet", -EINVAL},
      {"write=/dev/null", "write=/dev/null: not a regular file", -EINVAL},
      {"write=/nonexistent/file", "write=/nonexistent/file: No such file", -ENOENT},
      {"read=/x,speed=0", "speed=0: neither burst nor a number", -EINVAL},
      {"read=/x,speed=-1", "speed=-1: ", -EINVAL},
      {"read=/x,speed=1.", "speed=1.: ", -EINVAL},
      {"read=/x,speed=1.2345", "speed=1.2345: ", -EINVAL},
      {"read=/x,speed=1000001", "speed=1000001: ", -EINVAL},
      {"read=/x,speed=fast", "speed=fast: ", -EINVAL},
      {"read=/x,mtu=65522", "mtu=65522: outside 68..65521", -EINVAL},
      {"write=/x,snaplen=63", "", -ERANGE},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.options);
    DriverHost pcap{"pcap"};
    EXPECT_EQ(pcap.open(row.options), row.answer) << pcap.log();
    EXPECT_NE(pcap.log().find(row.says), std::string::npos) << pcap.log();
  }
}

}  // namespace
}  // namespace iopkt::abi_test
