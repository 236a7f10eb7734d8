// The notation of scripts: what is understood, what is refused and in which line.
#include <gtest/gtest.h>

#include "tests/script/syntax.hpp"

namespace iopkt::script {
namespace {

Event one(const std::string& text) {
  const Script script = parse(text);
  EXPECT_EQ(script.events.size(), 1u);
  return script.events.at(0);
}
Packet packet(const std::string& text) { return std::get<PacketEvent>(one("0 " + text).what).packet; }
CallEvent call(const std::string& text) { return std::get<CallEvent>(one("0 " + text).what); }

/// "line: what"
std::string fault(const std::string& text) {
  try {
    static_cast<void>(parse(text));
  } catch (const Fault& f) {
    return std::to_string(f.line) + ": " + f.what();
  }
  return "none";
}

TEST(ScriptParse, TimesAreExact) {
  const auto time = [](const std::string& text) { return one(text + " close(3) = 0").time; };
  EXPECT_EQ(time("0").begin, 0ns);
  EXPECT_FALSE(time("0").relative);
  EXPECT_EQ(time("+.1").begin, 100ms);
  EXPECT_TRUE(time("+.1").relative);
  EXPECT_EQ(time("12.000001").begin, 12s + 1us);
  EXPECT_EQ(time("+0...0.25").returns, std::optional<Duration>(250ms));
  EXPECT_EQ(time("1...1.5").begin, 1s);
  const Time range = one("+.1~+.2 > . 1:1(0) ack 1").time;
  EXPECT_EQ(range.begin, 100ms);
  EXPECT_EQ(range.until, std::optional<Duration>(200ms));
  EXPECT_TRUE(one("* > . 1:1(0) ack 1").time.any);
  EXPECT_EQ(fault("+.1~.2 > . 1:1(0)"), "1: a range of times must be of one kind");
  EXPECT_EQ(fault("+.2~+.1 > . 1:1(0)"), "1: a range of times that ends before it begins");
  EXPECT_EQ(fault("+2...1 read(3, ..., 1) = 1"), "1: a call that returns before it begins");
  EXPECT_EQ(fault("1.0000000001 close(3) = 0"), "1: a time with more than nine digits");
  EXPECT_EQ(fault("* close(3) = 0"), "1: only a packet that leaves can have an uncertain time");
  EXPECT_EQ(fault("+.1~+.2 < . 1:1(0) ack 1"), "1: only a packet that leaves can have an uncertain time");
  EXPECT_EQ(fault("+0...1 < . 1:1(0) ack 1"), "1: only a call can take time");
}

TEST(ScriptParse, Segments) {
  const Packet p = packet("< FP. 1:1001(1000) ack 5 win 257 urg 3 <mss 1460,sackOK,TS val 1 ecr 2,nop,wscale 7,sack 1:2 5:9,eol>");
  EXPECT_EQ(p.flags, 1 | 8 | 16);
  EXPECT_EQ(p.seq, (Range{1, 1001, 1000}));
  EXPECT_EQ(p.ack, std::optional<std::uint32_t>(5));
  EXPECT_EQ(p.window, std::optional<std::uint32_t>(257));
  EXPECT_EQ(p.urgent, std::optional<std::uint32_t>(3));
  ASSERT_EQ(p.options.size(), 7u);
  EXPECT_EQ(p.options[2].value, 1u);
  EXPECT_EQ(p.options[2].echo, 2u);
  EXPECT_EQ(p.options[5].blocks.size(), 2u);
  EXPECT_EQ(to_string(p), "FP. 1:1001(1000) ack 5 win 257 urg 3 <mss 1460,sackOK,TS val 1 ecr 2,nop,wscale 7,sack 1:2 5:9,eol>");
  EXPECT_EQ(packet("< SEW 0:0(0) win 1").flags, 2 | 64 | 128);
  EXPECT_EQ(packet("< - 0:0(0)").flags, 0);
  EXPECT_EQ(packet("< SEWA 0:0(0)").flags, 2 | 64 | 128 | 256);
  EXPECT_EQ(packet("< P.5 0:0(0)").flags, 8 | 16 | 64 | 256) << "ACE as a number";
  EXPECT_EQ(packet("< . 0:0(0) <ECN e0b 258 ceb 3 e1b 1>").options[0].raw, (std::vector<std::uint8_t>{172, 11, 0, 1, 2, 0, 0, 3, 0, 0, 1}));
  EXPECT_EQ(packet("< . 0:0(0) <ECN e1b 1 ceb 0,nop>").options[0].raw, (std::vector<std::uint8_t>{174, 8, 0, 0, 1, 0, 0, 0}));
  EXPECT_TRUE(packet("> S. 0:0(0) ack 1 <...>").any_options);
  EXPECT_EQ(packet("> 8080>1001 . 1:1(0) ack 1").ports, (Ports{8080, 1001}));
  EXPECT_EQ(packet("< S 0:0(0) win 9 <FO>").options.at(0).raw, (std::vector<std::uint8_t>{34, 2}));
  EXPECT_EQ(to_string(packet("< S 0:0(0) win 9 <FO 01a2b3c4,nop>")), "S 0:0(0) win 9 <FO 01a2b3c4,nop>");
  EXPECT_EQ(packet("< . 1:1(0) ack 1 <hex fd 04 0a ff>").options.at(0).raw, (std::vector<std::uint8_t>{0xfd, 4, 10, 255}));
}

TEST(ScriptParse, BracketsSayWhatIpSays) {
  const Packet p = packet("< [ect0, ttl 5, tos 0x10, df, badsum] . 1:1(0) ack 1");
  EXPECT_EQ(p.ecn, std::optional<std::uint8_t>(2));
  EXPECT_EQ(p.ttl, std::optional<std::uint8_t>(5));
  EXPECT_EQ(p.tos, std::optional<std::uint8_t>(16));
  EXPECT_EQ(p.dont_fragment, std::optional(true));
  EXPECT_TRUE(p.bad_checksum);
  EXPECT_EQ(fault("0 < [ecn] . 1:1(0)"), "1: unknown word in brackets: ecn");
}

TEST(ScriptParse, BracketsSayWhatStandsAroundTheTransport) {
  const std::string said = "[from 192.0.2.7, to 10.0.0.1, ext 0 00 1e 04 00 00 00 00, piece 0:1480+ id 7, ext 60 00 01 04 00 00 00 00, nosum, cut 2, "
                           "lost 3, at 100] udp (500)";
  const Packet p = packet("< " + said);
  EXPECT_EQ(p.from, wire::IpAddress::parse("192.0.2.7"));
  ASSERT_EQ(p.extensions.size(), 2u);
  EXPECT_EQ(p.extensions[1].type, 60);
  EXPECT_EQ(p.extensions[0].bytes, (std::vector<std::uint8_t>{0, 0x1e, 4, 0, 0, 0, 0}));
  ASSERT_TRUE(p.piece.has_value());
  EXPECT_TRUE(p.piece->more);
  EXPECT_EQ(p.piece->id, 7u);
  EXPECT_EQ(p.piece->behind, 1u);
  EXPECT_EQ(to_string(p), said);
  EXPECT_EQ(to_string(packet("< [from fd00::1, options 07 07 04, doff 4] . 1:1(0) ack 1")), "[from fd00::1, options 07 07 04, doff 4] . 1:1(0) ack 1");
  EXPECT_EQ(to_string(packet("> proto 59 (20)")), "proto 59 (20)");
  EXPECT_EQ(to_string(packet("> icmp parameter_problem pointer 20")), "icmp parameter_problem pointer 20");
  EXPECT_EQ(fault("0 < [from 1.2.3] udp (1)"), "1: not an address: 1.2.3");
  EXPECT_EQ(fault("0 < [piece 9:8] udp (1)"), "1: a piece that ends before it begins");
  EXPECT_EQ(fault("0 < [piece 0:8, piece 0:8] udp (1)"), "1: a piece of a piece");
}

TEST(ScriptParse, OtherProtocols) {
  EXPECT_EQ(packet("< udp (100)").length, 100u);
  EXPECT_EQ(packet("> udp 8080>1001 (100)").ports, (Ports{8080, 1001}));
  const Packet error = packet("< [1:1001(1000)] icmp unreachable frag_needed mtu 1200");
  EXPECT_EQ(error.icmp_type, 3);
  EXPECT_EQ(error.icmp_code, 4);
  EXPECT_EQ(error.mtu, std::optional<std::uint32_t>(1200));
  EXPECT_EQ(error.quoted_tcp, (Range{1, 1001, 1000}));
  EXPECT_FALSE(error.ports);
  const Packet of_flow = packet("< [8080>1001 1:1001(1000)] icmp unreachable port");
  EXPECT_EQ(of_flow.quoted_tcp, (Range{1, 1001, 1000}));
  EXPECT_EQ(of_flow.ports, (Ports{1001, 8080}));
  EXPECT_EQ(packet("< [udp 8080>1001 (100)] icmp unreachable port").ports, (Ports{1001, 8080}));
  EXPECT_EQ(fault("0 < [65536>1 1:1(0)] icmp unreachable port"), "1: a port that is none: 65536");
  EXPECT_EQ(packet("< [udp (64)] icmp unreachable port").quoted_udp, std::optional<std::uint32_t>(64));
  EXPECT_EQ(packet("< icmp echo_request (56)").icmp_type, 8);
  EXPECT_EQ(packet("< icmp type 3 code 200").icmp_code, 200);
  EXPECT_EQ(fault("0 < icmp nonsense"), "1: unknown ICMP message: nonsense");
  EXPECT_EQ(fault("0 < icmp unreachable sometimes"), "1: unknown code of unreachable before \"sometimes\"");
  EXPECT_EQ(fault("0 < [1:1(0)] . 1:1(0) ack 1"), "1: only an ICMP error quotes a packet");
}

TEST(ScriptParse, Calls) {
  const CallEvent c = call("setsockopt(4, SOL_SOCKET, SO_LINGER, {onoff=1, linger=0}, 8) = 0");
  ASSERT_EQ(c.arguments.size(), 5u);
  EXPECT_EQ(c.arguments[3].fields.at(0).name, "onoff");
  EXPECT_EQ(c.arguments[3].fields.at(1).value.at(0).integer, 0);
  const CallEvent failed = call("read(4, ..., 10) = -1 EAGAIN (Resource temporarily unavailable)");
  EXPECT_EQ(failed.result, -1);
  EXPECT_EQ(failed.error_name, "EAGAIN");
  EXPECT_TRUE(call("accept(3, ..., ...) = *").any_result);
  EXPECT_EQ(call("fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0").arguments[2].integer, 02 | 04000);
  const CallEvent bind = call(R"(bind(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("192.0.2.1")}, ...) = 0)");
  EXPECT_EQ(bind.arguments[1].fields.at(1).value.at(0).integer, 80);
  EXPECT_EQ(bind.arguments[1].fields.at(2).value.at(0).text, "192.0.2.1");
  EXPECT_EQ(call("sendmsg(4, {msg_name(...)=..., msg_iov(2)=[{..., 10}, {..., 5}], msg_flags=0}, 0) = 15").arguments[1].fields.size(), 3u);
  EXPECT_EQ(call("poll([{fd=4, events=POLLIN|POLLOUT, revents=POLLOUT}], 1, 0) = 1").arguments[0].items.size(), 1u);
  EXPECT_EQ(fault("0 read(4, ..., 10) = -1 EWHATEVER"), "1: unknown error: EWHATEVER");
  EXPECT_EQ(fault("0 socket(..., SOCK_CHAIR, 0) = 3"), "1: unknown name: SOCK_CHAIR");
}

TEST(ScriptParse, OptionsCommandsAssertionsAndComments) {
  const Script script = parse(R"(// a comment
--tolerance_usecs=1000
--ip_version=ipv4   # another
/* and
   one more */
`sysctl net.inet.tcp.delack=100`
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3 // behind
+0 %{ assert 1 == 1 }%
)");
  EXPECT_EQ(script.options.at("--tolerance_usecs"), "1000");
  EXPECT_EQ(script.options.size(), 2u);
  ASSERT_EQ(script.events.size(), 3u);
  EXPECT_EQ(std::get<CommandEvent>(script.events[0].what).text, "sysctl net.inet.tcp.delack=100");
  EXPECT_EQ(script.events[1].line, 7);
  EXPECT_EQ(std::get<CodeEvent>(script.events[2].what).text, " assert 1 == 1 ");
  EXPECT_EQ(fault("--a=1\n--a=2\n"), "2: --a twice");
}

TEST(ScriptParse, FaultsNameTheirLine) {
  EXPECT_EQ(fault("0 close(3) = 0\n\n+0 < S 0:0(1)\n"), "3: a range of sequence numbers whose length is another");
  EXPECT_EQ(fault("0 < .5E 0:0(0)"), "1: a flag twice");
  EXPECT_EQ(fault("0 < . 0:0(0) <ECN ceb 1>"), "1: expected \"e0b\" or \"e1b\" before \"ceb 1>\"");
  EXPECT_EQ(fault("0 < X 0:0(0)"), "1: expected the flags of a TCP segment before \"X 0:0(0)\"");
  EXPECT_EQ(fault("0 < SS 0:0(0)"), "1: a flag twice");
  EXPECT_EQ(fault("0 < S 0:0(0) win 65536"), "1: a number outside of 0..65535");
  EXPECT_EQ(fault("0 < S 0:0(0) <mss>"), "1: expected a number before \">\"");
  EXPECT_EQ(fault("0 < S 0:0(0) <window 3>"), "1: unknown TCP option: window");
  EXPECT_EQ(fault("0 < . 1:1(0) ack 1 <...>"), "1: a packet that arrives must say its options");
  EXPECT_EQ(fault("\n/* no end"), "2: a comment without an end");
  EXPECT_EQ(fault("`ls"), "1: a command without an end");
  EXPECT_EQ(fault("hello"), "1: expected a time before \"hello\"");
  EXPECT_EQ(fault("0 f(" + std::string(100, '[')), "1: too many brackets in brackets");
  EXPECT_EQ(fault("0 close(99999999999999999999) = 0"), "1: a number that is too large");
}

}  // namespace
}  // namespace iopkt::script
