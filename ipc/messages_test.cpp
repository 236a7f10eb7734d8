// Control messages and records: what goes in comes out, what is wrong is refused by name, nothing is read outside.
#include <fcntl.h>

#include <array>
#include <cstring>
#include <numeric>
#include <string>

#include "ipc/datagram_ring.hpp"
#include "ipc/messages.hpp"
#include "ipc/records.hpp"
#include "ipc/test_rig.hpp"

namespace iopkt::ipc::test {
namespace {

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto* p = reinterpret_cast<const std::byte*>(text.data());
  return {p, p + text.size()};
}

/// FNV-1a over all rows: what the messages of a version look like.
std::uint64_t shape_of_messages() {
  std::uint64_t out = 0xcbf29ce484222325;
  const auto mix = [&](std::uint64_t n) { out = (out ^ n) * 0x100000001b3; };
  for (const MessageRow& row : message_rows()) {
    mix(static_cast<std::uint64_t>(row.id)), mix(row.request_size), mix(row.answer_size);
    mix(static_cast<std::uint64_t>(row.request_blob)), mix(static_cast<std::uint64_t>(row.answer_blob));
  }
  return out;
}

// Daemon and library need not be of one build. Whoever has to change a number here raises the version beside it.
TEST(Versions, AreRaisedWithWhatTheyName) {
  constexpr auto kLayout = std::array<std::size_t, 8>{kLayoutVersion, sizeof(Slot), sizeof(RecordHeader), kControlMax, sizeof(ArenaHeader),
                                                      sizeof(ControlHeader), sizeof(StatusPage), sizeof(Doorbell)};
  EXPECT_EQ(kLayout, (std::array<std::size_t, 8>{5, 384, 104, 516, 48, 32, 320, 33408}));
  EXPECT_EQ(kProtocolVersion, 4u);
  EXPECT_EQ(sizeof(ErrorAnswer), 104u);
  EXPECT_EQ(shape_of_messages(), 0x2b933f915eae01b1u) << std::hex << shape_of_messages();
}

/// A good message of each row and direction.
std::vector<std::vector<std::byte>> examples() {
  std::vector<std::vector<std::byte>> out;
  std::byte buffer[4096];
  std::byte fixed[1024];
  for (std::size_t i = 0; i < sizeof fixed; ++i) fixed[i] = static_cast<std::byte>(i * 7);
  const auto blob = bytes_of("net.inet.tcp");
  for (const MessageRow& row : message_rows()) {
    for (const bool answer : {false, true}) {
      const BlobKind kind = answer ? row.answer_blob : row.request_blob;
      const std::size_t n = encode_frame(
          buffer,
          {.id = static_cast<std::uint16_t>(row.id), .flags = answer ? kAnswer : std::uint16_t{0}, .number = 42},
          {fixed, answer ? row.answer_size : row.request_size},
          kind == BlobKind::none ? std::span<const std::byte>{} : blob, answer ? "a word to the user" : "");
      EXPECT_GT(n, 0u) << row.name;
      out.emplace_back(buffer, buffer + n);
    }
  }
  return out;
}

TEST(Messages, EveryRowGoesThroughAndEachPrefixIsRefused) {
  for (const auto& message : examples()) {
    const auto frame = decode_frame(message);
    ASSERT_TRUE(frame) << to_string(frame.error());
    SCOPED_TRACE(frame->row->name);
    EXPECT_EQ(frame->header.number, 42u);
    EXPECT_EQ(frame->fixed.size(), frame->answer() ? frame->row->answer_size : frame->row->request_size);
    EXPECT_EQ(frame->line, frame->answer() ? "a word to the user" : "");
    for (std::size_t n = 0; n < message.size(); ++n) {
      const std::vector<std::byte> prefix(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(n));
      EXPECT_FALSE(decode_frame(prefix)) << n;
    }
  }
}

TEST(Messages, EachChangedByteIsRefusedOrHarmless) {
  for (const auto& message : examples()) {
    for (std::size_t i = 0; i < message.size(); ++i) {
      for (const int change : {1, 0x80, 0xff}) {
        auto copy = message;
        copy[i] ^= static_cast<std::byte>(change);
        const auto frame = decode_frame(copy);
        if (!frame) continue;
        EXPECT_LE(frame->fixed.size() + frame->blob.size() + frame->line.size() + sizeof(FrameHeader), copy.size());
      }
    }
  }
}

TEST(Messages, FaultsHaveNames) {
  std::byte buffer[256];
  const std::size_t n = encode_request<MessageId::slot_open>(buffer, 1, {.domain = 2, .type = 1, .protocol = 0, .cookie = 5});
  ASSERT_EQ(n, sizeof(FrameHeader) + sizeof(SlotOpenRequest));
  const struct {
    const char* says;
    void (*change)(FrameHeader&);
    FrameError error;
    std::size_t fds;
  } rows[] = {
      {"magic", [](FrameHeader& h) { h.magic = 1; }, FrameError::bad_magic, 0},
      {"row 0", [](FrameHeader& h) { h.id = 0; }, FrameError::unknown_message, 0},
      {"row beyond", [](FrameHeader& h) { h.id = static_cast<std::uint16_t>(message_rows().size() + 1); }, FrameError::unknown_message, 0},
      {"flag", [](FrameHeader& h) { h.flags = 8; }, FrameError::bad_flags, 0},
      {"reserved", [](FrameHeader& h) { h.reserved = 1; }, FrameError::bad_flags, 0},
      {"request with errno", [](FrameHeader& h) { h.error = 1; }, FrameError::unexpected_error, 0},
      {"errno too large", [](FrameHeader& h) { h.flags = kAnswer, h.error = 4096; }, FrameError::unexpected_error, 0},
      {"fixed too long", [](FrameHeader& h) { h.fixed_len += 8; }, FrameError::bad_fixed, 0},
      {"blob where none is", [](FrameHeader& h) { h.blob_len = 4; }, FrameError::unexpected_blob, 0},
      {"lengths that wrap", [](FrameHeader& h) { h.id = 4, h.blob_len = 0xffffffff; }, FrameError::bad_length, 0},
      {"descriptor", [](FrameHeader&) {}, FrameError::too_many_fds, 1},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    std::vector<std::byte> copy(buffer, buffer + n);
    FrameHeader header;
    std::memcpy(&header, copy.data(), sizeof header);
    row.change(header);
    std::memcpy(copy.data(), &header, sizeof header);
    const auto frame = decode_frame(copy, row.fds);
    ASSERT_FALSE(frame);
    EXPECT_EQ(frame.error(), row.error) << to_string(frame.error());
  }
  const auto text = bytes_of(std::string_view{"net\0inet", 8});
  const std::size_t with_nul = encode_request<MessageId::sysctl_get>(buffer, 1, {}, text);
  ASSERT_GT(with_nul, 0u);
  EXPECT_EQ(decode_frame({buffer, with_nul}).error(), FrameError::bad_text);
}

TEST(Messages, ARefusalCarriesErrnoAndALine) {
  std::byte buffer[1024];
  const std::string longer(2000, 'x');
  const std::size_t n = encode_refusal(buffer, MessageId::bind, 9, EADDRINUSE, longer);
  const auto frame = decode_frame({buffer, n});
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->header.error, static_cast<std::uint32_t>(EADDRINUSE));
  EXPECT_EQ(frame->line.size(), kLineMax);
  EXPECT_TRUE(frame->fixed.empty());
  EXPECT_EQ(encode_request<MessageId::close>({buffer, 16}, 1, {.slot = 1}), 0u) << "no room";
}

class ChannelTest : public testing::Test {
 protected:
  ChannelTest() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0); }
  ~ChannelTest() override { close(fds[0]), close(fds[1]); }
  int fds[2];
  std::vector<std::byte> scratch = std::vector<std::byte>(kMessageMax);
};

TEST_F(ChannelTest, ACallGetsItsAnswerWithDescriptors) {
  std::thread daemon{[&] {
    std::vector<std::byte> buffer(kMessageMax);
    Received got;
    ASSERT_EQ(receive_message(fds[1], buffer, {}, got), 0);
    const auto frame = decode_frame(std::span{buffer}.first(got.bytes), got.fds);
    ASSERT_TRUE(frame);
    ASSERT_EQ(frame->row->id, MessageId::slot_open);
    SlotOpenRequest request;
    ASSERT_TRUE(fixed_of(*frame, request));
    EXPECT_EQ(request.cookie, 77u);
    const std::uint32_t number = frame->header.number;
    const std::size_t n = encode_answer<MessageId::slot_open>(
        buffer, number, {.slot = slot_name(1, 2), .nonce = 3, .incarnation = 4, .reserved = 0});
    const int file = memfd_create("x", MFD_CLOEXEC);
    EXPECT_EQ(send_message(fds[1], std::span{buffer}.first(n), {&file, 1}), 0);
    close(file);
  }};
  SlotAnswer answer{};
  int got_fds[2];
  const CallResult result = call<MessageId::slot_open>(
      fds[0], scratch, kMessageMax, 5, {.domain = 2, .type = 1, .protocol = 0, .cookie = 77}, {}, answer, {}, got_fds);
  daemon.join();
  ASSERT_EQ(result.transport, 0);
  EXPECT_EQ(result.error, 0);
  ASSERT_EQ(result.fds, 1u);
  EXPECT_EQ(fcntl(got_fds[0], F_GETFD), FD_CLOEXEC);
  close(got_fds[0]);
  EXPECT_EQ(arena_of(answer.slot), 1u);
  EXPECT_EQ(index_of(answer.slot), 2u);
}

TEST_F(ChannelTest, LongRequestsAndAnswersAreSplit) {
  std::vector<std::byte> blob(100'000);
  for (std::size_t i = 0; i < blob.size(); ++i) blob[i] = static_cast<std::byte>(i % 251);
  std::thread daemon{[&] {
    std::vector<std::byte> buffer(kMessageMin), all;
    int messages = 0;
    for (bool more = true; more; ++messages) {
      Received got;
      ASSERT_EQ(receive_message(fds[1], buffer, {}, got), 0);
      const auto frame = decode_frame(std::span{buffer}.first(got.bytes));
      ASSERT_TRUE(frame) << to_string(frame.error());
      all.insert(all.end(), frame->blob.begin(), frame->blob.end());
      more = frame->more();
    }
    EXPECT_EQ(all, blob);
    EXPECT_EQ(messages, 50);
    std::vector<std::byte> room(kMessageMax);
    EXPECT_EQ(send_split(fds[1], room, kMessageMax,
                         {.id = static_cast<std::uint16_t>(MessageId::manage), .flags = kAnswer, .number = 6}, {}, all,
                         "done"),
              0);
  }};
  Empty answer;
  std::vector<std::byte> out(100'000);
  char line[8];
  const CallResult result = call<MessageId::manage>(fds[0], scratch, kMessageMin, 6, {}, blob, answer, out, {}, line);
  daemon.join();
  EXPECT_EQ(result.transport, 0);
  EXPECT_EQ(result.blob_len, blob.size());
  EXPECT_EQ(out, blob);
  EXPECT_EQ(std::string_view(line, result.line_len), "done");
}

TEST_F(ChannelTest, DescriptorsThatNobodyAskedForAreClosed) {
  const int file = memfd_create("x", MFD_CLOEXEC);
  const int many[3] = {file, file, file};
  const auto message = bytes_of("0123456789");
  ASSERT_EQ(send_message(fds[1], message, many), 0);
  int room[1];
  Received got;
  const int before = dup(file);
  EXPECT_EQ(receive_message(fds[0], scratch, room, got), EMSGSIZE);
  const int after = dup(file);
  EXPECT_EQ(after, before + 1) << "a descriptor leaked";
  ASSERT_EQ(send_message(fds[1], message), 0);
  EXPECT_EQ(receive_message(fds[0], {scratch.data(), 5}, room, got), EMSGSIZE);
  close(fds[1]);
  EXPECT_EQ(receive_message(fds[0], scratch, room, got), ENOTCONN);
  fds[1] = -1;
  close(file), close(before), close(after);
}

// ---------------------------------------------------------------------------------------------- records

TEST(Records, NestAndKeepTheirOrder) {
  std::vector<std::byte> blob;
  RecordWriter{blob}
      .text("verb", "ifconfig")
      .number("mtu", 1500)
      .signed_number("metric", -3)
      .boolean("up", true)
      .list("addresses")
      .group()
      .address("address", "10.0.0.1/24")
      .end()
      .end()
      .bytes("mac", bytes_of("abcdef"))
      .text("last", "");
  EXPECT_EQ(find_text(blob, "verb"), "ifconfig");
  EXPECT_EQ(find_number(blob, "mtu"), 1500u);
  EXPECT_EQ(find_number(blob, "up"), 1u);
  EXPECT_EQ(find_text(blob, "address", "none at the top"), "none at the top");
  EXPECT_EQ(find_text(blob, "last", "x"), "");
  Record record;
  ASSERT_TRUE(find_record(blob, "metric", record));
  EXPECT_EQ(record.signed_number(), -3);
  ASSERT_TRUE(find_record(blob, "mac", record));
  EXPECT_EQ(record.text(), "abcdef");

  RecordReader reader{blob};
  std::string seen;
  while (reader.next(record)) {
    seen += record.type == RecordType::end ? ")" : std::string{record.key} + " ";
    if (record.type == RecordType::list || record.type == RecordType::group) seen += "(";
  }
  EXPECT_FALSE(reader.bad());
  EXPECT_EQ(seen, "verb mtu metric up addresses ( (address ))mac last ");
  RecordReader skipping{blob};
  while (skipping.next(record) && record.type != RecordType::list) {
  }
  skipping.skip_group();
  ASSERT_TRUE(skipping.next(record));
  EXPECT_EQ(record.key, "mac");
}

TEST(Records, EveryPrefixAndEachChangedByteIsRefusedOrHarmless) {
  std::vector<std::byte> blob;
  RecordWriter{blob}.text("name", "value").list("l").number("n", 7).end().boolean("b", false);
  const auto walk = [](std::span<const std::byte> bytes) {
    RecordReader reader{bytes};
    Record record;
    std::size_t length = 0;
    while (reader.next(record)) length += record.key.size() + record.value.size() + kRecordHeaderSize;
    EXPECT_LE(length, bytes.size());
    return !reader.bad();
  };
  EXPECT_TRUE(walk(blob));
  for (std::size_t n = 0; n < blob.size(); ++n) {
    walk(std::vector<std::byte>(blob.begin(), blob.begin() + static_cast<std::ptrdiff_t>(n)));
  }
  for (std::size_t i = 0; i < blob.size(); ++i) {
    for (int change = 1; change < 256; ++change) {
      auto copy = blob;
      copy[i] ^= static_cast<std::byte>(change);
      walk(copy);
    }
  }
  std::vector<std::byte> deep;
  RecordWriter writer{deep};
  for (unsigned i = 0; i <= kRecordDepthMax; ++i) writer.group("g");
  for (unsigned i = 0; i <= kRecordDepthMax; ++i) writer.end();
  EXPECT_FALSE(walk(deep));
  std::vector<std::byte> open;
  RecordWriter{open}.group("g");
  EXPECT_FALSE(walk(open));
  std::vector<std::byte> closed;
  RecordWriter{closed}.end();
  EXPECT_FALSE(walk(closed));
}

}  // namespace
}  // namespace iopkt::ipc::test
