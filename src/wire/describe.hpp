// One line for any frame, in the manner of tcpdump: for traces, the simulator and messages to people. Not for
// programs: the form may change.
//
//   02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff arp who-has 10.0.0.2 tell 10.0.0.1
//
// and behind "… ipv4 ", or alone from describe_ip():
//
//   10.0.0.1:4000 > 10.0.0.2:80 tcp [S] seq=7 win=65535 len=0 <mss 1460,sackok> ttl=64 df
//   10.0.0.2 > 10.0.0.1 icmp unreachable port (10.0.0.1:9 > 10.0.0.2:7 udp len=4 ttl=64) ttl=64
#pragma once

#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "wire/address.hpp"

namespace iopkt::wire {

struct DescribeOptions {
  /// Says "bad-checksum" of TCP and UDP too. Not for frames on their way out, whose checksum a device may
  /// still fill in.
  bool transport_checksums = false;
};

/// Takes any bytes; what is cut short or contradicts itself is called so by the name of its ParseError. No
/// line end.
std::string describe(Bytes ethernet_frame, DescribeOptions options = {});

/// The same for what begins with an IPv4 or IPv6 header.
std::string describe_ip(Bytes packet, DescribeOptions options = {});

/// "tcp", "udp", …; empty for a number without a name here.
std::string_view name(IpProtocol protocol);

}  // namespace iopkt::wire
