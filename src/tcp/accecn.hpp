// More accurate ECN feedback: RFC 9768. Each side counts the marks that arrive and echoes the counts: of packets modulo 8 in the flags
// AE, CWR and ECE (ACE), of payload bytes modulo 2^24 in an option. Names as there.
//
// Only data that is sent for the first time is ECN-capable (section 4 leaves the rest of RFC 3168 as it is), but what arrives marked is
// counted whatever it is.
#pragma once

#include <cstdint>
#include <optional>

#include "tcp/ranges.hpp"
#include "tcp/segment.hpp"

namespace iopkt::tcp {

/// How a connection gives feedback of marks.
enum class EcnMode : std::uint8_t {
  none,
  classic,   ///< RFC 3168
  accurate,  ///< RFC 9768
};

/// What a connection that we open asks for with this value of net.inet.tcp.ecn.enable, which has the numbers of Linux's tcp_ecn.
constexpr EcnMode ecn_asked(std::uint32_t enable) {
  return enable == 3 ? EcnMode::accurate : enable == 1 || enable == 4 ? EcnMode::classic : EcnMode::none;
}
/// Section 3.1.2, table 2, and section 3.1.3: what a SYN with these flags gets. The SYN of RFC 3168 has ECE and CWR.
EcnMode ecn_granted(std::uint32_t enable, std::uint16_t syn_flags);
/// Section 3.1.2, table 2: what the answer to a SYN with all three flags stands for.
EcnMode ecn_of_answer(std::uint16_t syn_ack_flags);
/// Table 2 and table 3: the flags of a SYN,ACK, or of the ACK that answers it, to an IP-ECN field of 0..3.
std::uint16_t handshake_flags(std::uint8_t ip_ecn);
/// The other way; nullopt: no encoding of one.
std::optional<std::uint8_t> handshake_ecn(std::uint16_t flags);

/// Section 3.2.2.5.2, appendix A.2: how many more packets are marked than `counter` says, after an acknowledgment of `acked` packets
/// with this ACE field. `ce_bytes`: how many more bytes are, where the option says it. Without it the safest likely case counts: where
/// `marks_of_late` were seen the field is taken to have gone round as often as it can; where none were it has not: a receiver tells of
/// the first mark at once, and of every second or third (section 3.2.2.5.1).
std::uint32_t decode_ace(std::uint8_t ace, std::uint32_t counter, std::uint32_t acked, std::optional<std::uint32_t> ce_bytes,
                         std::uint32_t mss, bool marks_of_late);

/// Of one connection in accurate mode. Plain values.
struct AccEcn {
  enum Field : std::uint8_t { e0b = 1, ceb = 2, e1b = 4 };
  /// What is known of the peer's options.
  enum class Heard : std::uint8_t { none, yes, zeroed };

  // The receiver (section 3.2), and
  std::uint32_t r_cep{5}, r_ceb{}, r_e0b{1}, r_e1b{1};
  // the sender.
  std::uint32_t s_cep{5}, s_ceb{}, s_e0b{1}, s_e1b{1};
  std::uint8_t syn_ecn{};        ///< IP-ECN of the peer's last SYN or SYN,ACK.
  std::uint8_t marks_unsaid{};   ///< Marked packets since the last acknowledgment went out, counts to 255.
  std::uint8_t moved{};          ///< Fields that ever counted,
  std::uint8_t unsaid{};         ///< and those that did since an option last said so.
  std::uint8_t odd_echoes{};     ///< Options that said more of marked bytes while ACE stood still, one after the other.
  bool last_was_ce{};            ///< Of the last packet of any kind.
  bool handshake_due{};          ///< The next acknowledgment answers the SYN,ACK (section 3.2.2.1).
  /// The first data of a client has a whole option (section 3.2.3.2.1), which is to get through.
  enum class FirstData : std::uint8_t { other, due, sent } first_data{};
  bool says_options{true};       ///< They are not known to be blocked on their way out (section 3.2.3.2.2).
  Heard heard{};
  bool sends_ect{true};          ///< The path is not known to mangle IP-ECN (section 3.2.2.3),
  bool heeds{true};              ///< and the feedback is worth something.
  bool fed_back{};               ///< An ACE field was seen after the handshake.
  bool r_counted_syn_ack{};      ///< r_cep has the mark of a SYN,ACK: once (section 3.2.2.2).
  Offset marks_end{};            ///< End of what was sent when a mark was last told of: until that is acknowledged, marks are likely.
  friend bool operator==(const AccEcn&, const AccEcn&) = default;

  // ---- the receiver
  /// Section 3.2.2.5.1: an acceptable packet, or several with the same mark, not a SYN. `waiting`: there is data that is not
  /// acknowledged. True: an acknowledgment is due at once.
  bool on_packets(const SegmentIn& seg, bool waiting);
  /// Section 3.2.2.2: the client's SYN,ACK came, or came again.
  void on_syn_ack(std::uint8_t ip_ecn);
  /// The option of the next segment, which has data or not, in `room` bytes of header; nullopt: nothing is new, or there is no room
  /// (section 3.2.3.3).
  std::optional<wire::AccEcnOption> option(std::uint32_t room, bool data) const;
  /// All three fields, for the handshake.
  wire::AccEcnOption whole_option() const;
  /// A segment with this option, if any, goes out.
  void on_sent(const std::optional<wire::AccEcnOption>& said, bool data);

  // ---- the sender
  /// Section 3.2.2.3: our SYN, or SYN,ACK, was not ECN-capable, and came with this field. True: with a mark, to be answered as any.
  bool on_handshake_echo(std::uint8_t ip_ecn);
  /// Section 3.2.2.1, table 4: the ACK of our SYN,ACK. True: as above.
  bool on_last_ack(std::uint16_t flags);
  struct Echo {
    std::uint32_t marks{};  ///< So many more packets are marked;
    bool congestion{};      ///< this, or bytes are;
    bool told{};            ///< and it is no guess.
  };
  /// Sections 3.2.2.2 and 3.2.3.1: an acknowledgment that is the first of `acked` packets, 1 at least. `marks_of_late`: see decode_ace().
  Echo on_ack(const SegmentIn& seg, std::uint32_t acked, std::uint32_t mss, bool marks_of_late);

 private:
  wire::AccEcnOption option_with(std::uint8_t fields) const;
  std::optional<std::uint32_t> take_option(const wire::AccEcnOption& o);
};

}  // namespace iopkt::tcp
