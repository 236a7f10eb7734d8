// A player that lets everything pass would pass every script: each way in which the stack and a script can part is seen, in words.
#include "tests/script/run.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/script/sockets.hpp"

namespace iopkt::script {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string play(const std::string& text) {
  Sockets system{{}};
  return play_text("x.pkt", text, system);
}

const std::string kListen = R"(0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
)";
const std::string kOpen = kListen + R"(+0 < S 0:0(0) win 32792 <mss 1000>
+0 > S. 0:0(0) ack 1 <mss 1460>
+.1 < . 1:1(0) ack 1 win 32792
+0 accept(3, ..., ...) = 4
)";

TEST(ScriptRun, WhatHoldsPasses) {
  EXPECT_EQ(play(kOpen), "");
  EXPECT_EQ(play(kOpen + "+0 write(4, ..., 1000) = 1000\n+0 > P. 1:1001(1000) ack 1 win 65535\n"), "");
}

TEST(ScriptRun, AnotherPacketIsShownBesideTheExpectedOne) {
  const std::string wrong = play(kOpen + "+0 write(4, ..., 1000) = 1000\n+0 > P. 1:1001(1000) ack 2\n");
  EXPECT_THAT(wrong, StartsWith("x.pkt:9: another packet\n"
                                "  expected at 0.100000: > P. 1:1001(1000) ack 2\n"
                                "  left     at 0.100000: > P. 1:1001(1000) ack 1 win 65535\n"));
  EXPECT_THAT(wrong, HasSubstr("0.100000 write()"));
}

TEST(ScriptRun, EachFieldCounts) {
  const std::string write = kOpen + "+0 write(4, ..., 1000) = 1000\n+0 > ";
  EXPECT_EQ(play(write + "[ttl 64, tos 0, noecn, df] P. 1:1001(1000) ack 1 win 65535\n"), "");
  for (const char* packet : {"[ttl 63] P. 1:1001(1000) ack 1", "[tos 4] P. 1:1001(1000) ack 1", "[ect0] P. 1:1001(1000) ack 1",
                             "[nodf] P. 1:1001(1000) ack 1", ". 1:1001(1000) ack 1", "P. 2:1002(1000) ack 1", "P. 1:1000(999) ack 1",
                             "P. 1:1001(1000)", "P. 1:1001(1000) ack 1 win 1", "P. 1:1001(1000) ack 1 urg 1",
                             "P. 1:1001(1000) ack 1 <nop,nop,TS val 1 ecr 1>", "8080>1 P. 1:1001(1000) ack 1", "udp (1000)",
                             "icmp echo_reply (1000)"})
    EXPECT_THAT(play(write + packet + "\n"), HasSubstr("another packet")) << packet;
}

TEST(ScriptRun, WhatStandsAroundTheTransportCounts) {
  const std::string send = "0 socket(..., SOCK_DGRAM, IPPROTO_UDP) = 3\n+0 sendto(3, ..., 3000, 0, ..., ...) = 3000\n";
  EXPECT_EQ(play(send + "+0 > [piece 0:1480+] udp (3000)\n+0 > [piece 1480:2960+, to 192.0.2.1] udp (3000)\n+0 > [piece 2960:3008] udp (3000)\n"), "");
  EXPECT_THAT(play(send + "+0 > udp (3000)\n"), HasSubstr("a fragment of an IP packet"));
  EXPECT_THAT(play(send + "+0 > [piece 0:1472+] udp (3000)\n"), HasSubstr("another packet"));
  EXPECT_THAT(play(send + "+0 > [piece 0:1480+, to 192.0.2.2] udp (3000)\n"), HasSubstr("another packet"));
  EXPECT_THAT(play(send + "+0 > [piece 0:1480+] udp (3000)\n+0 > [piece 1480:2960+] udp (3000)\n+0 > [piece 2960:3008] udp (2999)\n"),
              HasSubstr("another packet"));
  const std::string one = "0 socket(..., SOCK_DGRAM, IPPROTO_UDP) = 3\n+0 sendto(3, ..., 10, 0, ..., ...) = 10\n";
  EXPECT_THAT(play(one + "+0 > [nosum] udp (10)\n"), HasSubstr("another packet"));
  EXPECT_THAT(play(one + "+0 > [at 5] udp (10)\n"), HasSubstr("the payload is not what was written"));
  EXPECT_THAT(play(one + "+0 > [piece 0:18] udp (10)\n"), HasSubstr("another packet"));
  EXPECT_THAT(play("0 < [from fd00::1] udp (10)\n"), HasSubstr("of the other family"));
  EXPECT_THAT(play("0 < [ext 60 00 01 04 00 00 00 00] udp (10)\n"), HasSubstr("of the other family"));
}

TEST(ScriptRun, TimesCount) {
  const std::string fin = kOpen + "+0 < F. 1:1(0) ack 1 win 32792\n";
  EXPECT_EQ(play(fin + "+0 > . 1:1(0) ack 2\n"), "");
  EXPECT_EQ(play(fin + "* > . 1:1(0) ack 2\n"), "");
  EXPECT_EQ(play(fin + "+0~+1 > . 1:1(0) ack 2\n"), "");
  EXPECT_THAT(play(fin + "+.01 > . 1:1(0) ack 2\n"), HasSubstr("at another time"));
  EXPECT_THAT(play(fin + "+.01~+1 > . 1:1(0) ack 2\n"), HasSubstr("at another time"));
  const std::string data = kOpen + "+0 < P. 1:11(10) ack 1 win 32792\n";
  EXPECT_EQ(play(data + "+.04 > . 1:1(0) ack 11\n"), "");
  EXPECT_THAT(play(data + "+0 > . 1:1(0) ack 11\n"), HasSubstr("no packet left"));
  EXPECT_EQ(play("--tolerance_usecs=40000\n" + data + "+0 > . 1:1(0) ack 11\n"), "");
}

TEST(ScriptRun, NothingLeavesUnseen) {
  EXPECT_THAT(play(kListen + "+0 < S 0:0(0) win 32792 <mss 1000>\n+1 close(3) = 0\n"),
              StartsWith("x.pkt:5: a packet left that nobody expected, at 0.000000"));
  EXPECT_THAT(play(kListen + "+0 < S 0:0(0) win 32792 <mss 1000>\n"), StartsWith("x.pkt:4: a packet left that nobody expected"));
  EXPECT_THAT(play(kOpen + "+0 > . 1:1(0) ack 1\n"), HasSubstr("no packet left"));
}

TEST(ScriptRun, AnswersOfCallsCount) {
  EXPECT_THAT(play(kListen + "+0 listen(3, 1) = -1 EINVAL\n"), StartsWith("x.pkt:4: listen() answered 0 instead of -1 EINVAL"));
  EXPECT_THAT(play(kListen + "+0 read(3, ..., 1) = -1 EPIPE\n"), StartsWith("x.pkt:4: read() answered -1 ENOTCONN instead of -1 EPIPE"));
  EXPECT_THAT(play(kListen + "+0 accept(3, ..., ...) = 4\n"), StartsWith("x.pkt:4: accept() blocks"));
  EXPECT_THAT(play(kListen + "+0...1 accept(3, ..., ...) = 4\n"), StartsWith("x.pkt:4: accept() did not return"));
  EXPECT_THAT(play(kOpen + "+0...1 read(4, ..., 5) = 5\n+.5 < P. 1:6(5) ack 1 win 100\n+1 close(4) = 0\n"),
              StartsWith("x.pkt:8: read() returned at 0.600000 instead of 1.100000"));
  EXPECT_EQ(play(kOpen + "+0...0.5 read(4, ..., 5) = 5\n+.5 < P. 1:6(5) ack 1 win 100\n"), "");
  EXPECT_THAT(play(kOpen + "+0 getsockopt(4, SOL_SOCKET, SO_ERROR, [5], [4]) = 0\n"), HasSubstr("another value was expected than [0]"));
  EXPECT_THAT(play(kOpen + "+0 poll([{fd=4, events=POLLOUT, revents=POLLIN}], 1, 0) = 1\n"), HasSubstr("revents of descriptor 4 are 4 instead of 1"));
  EXPECT_THAT(play("0 reboot(1) = 0\n"), StartsWith("x.pkt:1: not built: reboot()"));
  EXPECT_THAT(play("0 close(1, 2) = 0\n"), StartsWith("x.pkt:1: close() takes 1 arguments"));
}

TEST(ScriptRun, CommandsAndAssertions) {
  EXPECT_EQ(play("`sysctl net.inet.tcp.delack=10`\n" + kOpen + "+0 < P. 1:11(10) ack 1 win 32792\n+.01 > . 1:1(0) ack 11\n"), "");
  EXPECT_THAT(play("`sysctl net.inet.tcp.nonsense=10`\n"), StartsWith("x.pkt:1: "));
  EXPECT_THAT(play("`rm -r x`\n"), StartsWith("x.pkt:1: not built: the command `rm -r x`"));
  EXPECT_EQ(play(kOpen + "+0 %{ assert tcpi_state == TCP_ESTABLISHED; assert drops(\"tcp_paws\") == 0 }%\n"), "");
  EXPECT_THAT(play(kOpen + "+0 %{\nassert tcpi_state == TCP_LISTEN\n}%\n"), StartsWith("x.pkt:9: assertion does not hold: tcpi_state == TCP_LISTEN"));
  EXPECT_THAT(play("--ip_version=ipv9\n"), HasSubstr("not built: the option --ip_version=ipv9"));
}

TEST(ScriptRun, PayloadsAreCompared) {
  // What is read is what the peer's stream has there: a segment whose text is another's would show.
  Sockets system{{}};
  const std::string text = kOpen + "+0 < P. 1:11(10) ack 1 win 32792\n+0 read(4, ..., 10) = 10\n";
  EXPECT_EQ(play_text("x.pkt", text, system), "");
  EXPECT_EQ(play(kOpen + "+0 write(4, \"hello\", 5) = 5\n+0 > P. 1:6(5) ack 1\n"), "");
}

}  // namespace
}  // namespace iopkt::script
