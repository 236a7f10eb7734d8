// The notation, read front to back by one cursor: what a word means follows from where it stands.
#include <algorithm>
#include <cctype>

#include "tests/script/syntax.hpp"

namespace iopkt::script {
namespace {

constexpr int kMaxDepth = 32;  // of lists in lists: no script needs more than three

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  Script script() {
    Script out;
    skip();
    while (at("--")) option(out);
    const auto only_commands = [&] {
      return std::ranges::all_of(out.events, [](const Event& e) { return std::holds_alternative<CommandEvent>(e.what); });
    };
    while (skip(), !done()) out.events.push_back(event(only_commands()));
    return out;
  }

 private:
  // ---- characters
  bool done() const { return at_ >= text_.size(); }
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool at(std::string_view word) const { return text_.compare(at_, word.size(), word) == 0; }
  bool is_digit(std::size_t ahead = 0) const { return std::isdigit(static_cast<unsigned char>(peek(ahead))) != 0; }
  bool is_letter(std::size_t ahead = 0) const { return std::isalpha(static_cast<unsigned char>(peek(ahead))) != 0 || peek(ahead) == '_'; }
  [[noreturn]] void fail(const std::string& what) const { throw Fault(line_, what); }
  void advance(std::size_t count = 1) {
    for (; count > 0 && !done(); --count) line_ += text_[at_++] == '\n';
  }
  /// Blanks and comments: // and # to the end of the line, /* ... */.
  void skip() {
    for (;;) {
      if (std::isspace(static_cast<unsigned char>(peek())) != 0) {
        advance();
      } else if (at("//") || peek() == '#') {
        while (!done() && peek() != '\n') advance();
      } else if (at("/*")) {
        const int begun = line_;
        while (!done() && !at("*/")) advance();
        if (done()) throw Fault(begun, "a comment without an end");
        advance(2);
      } else {
        return;
      }
    }
  }
  bool accept(std::string_view word) {
    skip();
    if (!at(word)) return false;
    advance(word.size());
    return true;
  }
  /// A whole word: "win" is none of "window".
  bool accept_word(std::string_view word) {
    skip();
    if (!at(word)) return false;
    const char next = peek(word.size());
    if (std::isalnum(static_cast<unsigned char>(next)) != 0 || next == '_') return false;
    advance(word.size());
    return true;
  }
  void expect(std::string_view word) {
    if (!accept(word)) fail("expected \"" + std::string(word) + "\" before " + here());
  }
  std::string here() const {
    if (done()) return "the end of the script";
    const std::string rest = text_.substr(at_, 20);
    return "\"" + rest.substr(0, rest.find('\n')) + "\"";
  }
  std::string word() {
    skip();
    std::string out;
    while (is_letter() || is_digit()) out += peek(), advance();
    if (out.empty()) fail("expected a word before " + here());
    return out;
  }
  std::string until(std::string_view end, const char* what) {
    const int begun = line_;
    std::string out;
    while (!done() && !at(end)) out += peek(), advance();
    if (done()) throw Fault(begun, std::string(what) + " without an end");
    advance(end.size());
    return out;
  }

  // ---- numbers
  std::int64_t integer() {
    skip();
    const bool negative = peek() == '-';
    if (negative) advance();
    if (!is_digit()) fail("expected a number before " + here());
    const bool hexadecimal = peek() == '0' && (peek(1) == 'x' || peek(1) == 'X');
    if (hexadecimal) advance(2);
    std::uint64_t value = 0;
    bool any = false;
    while (hexadecimal ? std::isxdigit(static_cast<unsigned char>(peek())) != 0 : is_digit()) {
      const char c = static_cast<char>(std::tolower(static_cast<unsigned char>(peek())));
      value = value * (hexadecimal ? 16 : 10) + static_cast<std::uint64_t>(c >= 'a' ? c - 'a' + 10 : c - '0');
      if (value > 0xffff'ffff'ffffu) fail("a number that is too large");
      any = true;
      advance();
    }
    if (!any) fail("expected hexadecimal digits before " + here());
    return negative ? -static_cast<std::int64_t>(value) : static_cast<std::int64_t>(value);
  }
  std::uint32_t number(std::uint64_t most = UINT32_MAX) {
    const std::int64_t value = integer();
    if (value < 0 || static_cast<std::uint64_t>(value) > most) fail("a number outside of 0.." + std::to_string(most));
    return static_cast<std::uint32_t>(value);
  }
  bool at_seconds() {
    skip();
    return is_digit() || (peek() == '.' && is_digit(1));
  }
  /// Seconds with at most nine digits after the point, exactly. "0...1" is 0 and an ellipsis.
  Duration seconds() {
    if (!at_seconds()) fail("expected a time before " + here());
    std::int64_t whole = 0, part = 0, unit = 1'000'000'000;
    while (is_digit()) {
      whole = whole * 10 + (peek() - '0');
      if (whole > 1'000'000'000) fail("a time that is too large");
      advance();
    }
    if (peek() == '.' && is_digit(1)) {
      advance();
      while (is_digit()) {
        unit /= 10;
        if (unit == 0) fail("a time with more than nine digits");
        part += (peek() - '0') * unit;
        advance();
      }
    }
    return Duration{whole * 1'000'000'000 + part};
  }

  // ---- the frame
  void option(Script& out) {
    std::string all;
    while (!done() && std::isspace(static_cast<unsigned char>(peek())) == 0) all += peek(), advance();
    const auto equals = all.find('=');
    const std::string name = all.substr(0, equals);
    if (!out.options.emplace(name, equals == std::string::npos ? "" : all.substr(equals + 1)).second) fail(name + " twice");
    skip();
  }
  Event event(bool first) {
    Event out;
    out.line = line_;
    // Commands before everything else need no time.
    if (first && peek() == '`') out.time = {};
    else out.time = time();
    skip();
    if (peek() == '<' || peek() == '>') {
      PacketEvent packet;
      packet.inbound = peek() == '<';
      advance();
      packet.packet = this->packet(packet.inbound);
      out.what = std::move(packet);
    } else if (accept("`")) {
      out.what = CommandEvent{until("`", "a command")};
    } else if (accept("%{")) {
      out.what = CodeEvent{until("}%", "an assertion")};
    } else {
      out.what = call();
    }
    if (out.time.returns && !std::holds_alternative<CallEvent>(out.what)) throw Fault(out.line, "only a call can take time");
    if ((out.time.any || out.time.until) &&
        (!std::holds_alternative<PacketEvent>(out.what) || std::get<PacketEvent>(out.what).inbound))
      throw Fault(out.line, "only a packet that leaves can have an uncertain time");
    return out;
  }
  Time time() {
    Time out;
    if (accept("*")) {
      out.any = true;
      return out;
    }
    out.relative = accept("+");
    out.begin = seconds();
    skip();
    if (accept("...")) {
      out.returns = seconds();
      if (*out.returns < out.begin) fail("a call that returns before it begins");
    } else if (accept("~")) {
      if (accept("+") != out.relative) fail("a range of times must be of one kind");
      out.until = seconds();
      if (*out.until < out.begin) fail("a range of times that ends before it begins");
    }
    return out;
  }

  // ---- packets
  Packet packet(bool inbound) {
    Packet out;
    skip();
    if (peek() == '[') brackets(out);
    if (accept_word("udp")) {
      out.kind = Packet::Kind::udp;
      ports(out);
      expect("(");
      out.length = number(65507);
      expect(")");
    } else if (accept_word("icmp") || (out.icmpv6 = accept_word("icmpv6"))) {
      out.kind = Packet::Kind::icmp;
      icmp(out);
    } else if (accept_word("proto")) {
      out.kind = Packet::Kind::other;
      out.protocol = static_cast<std::uint8_t>(number(255));
      expect("(");
      out.length = number(1u << 17);  // a piece of it may lie beyond what a packet can have
      expect(")");
    } else {
      if (out.quoted_tcp || out.quoted_udp) fail("only an ICMP error quotes a packet");
      tcp(out, inbound);
    }
    return out;
  }
  /// [ect0], [tos 0x10, ttl 5], and what an ICMP error quotes: [1:1001(1000)] or [udp (100)], with the ports of its flow
  /// [8080>1001 1:1001(1000)] or [udp 8080>1001 (100)].
  void brackets(Packet& out) {
    expect("[");
    skip();
    if (is_digit()) {
      std::uint32_t first = number();
      if (accept(">")) {
        if (first > 65535) fail("a port that is none: " + std::to_string(first));
        out.ports = Ports{static_cast<std::uint16_t>(number(65535)), static_cast<std::uint16_t>(first)};
        first = number();
      }
      out.quoted_tcp = range(first);
      return expect("]");
    }
    do {
      const std::string name = word();
      if (name == "noecn") out.ecn = 0;
      else if (name == "ect1") out.ecn = 1;
      else if (name == "ect0") out.ecn = 2;
      else if (name == "ce") out.ecn = 3;
      else if (name == "tos") out.tos = static_cast<std::uint8_t>(number(255));
      else if (name == "ttl") out.ttl = static_cast<std::uint8_t>(number(255));
      else if (name == "df") out.dont_fragment = true;
      else if (name == "nodf") out.dont_fragment = false;
      else if (name == "badsum") out.bad_checksum = true;
      else if (name == "nosum") out.no_checksum = true;
      else if (name == "udp") quoted_udp(out);
      else if (name == "from") out.from = address();
      else if (name == "to") out.to = address();
      else if (name == "piece") piece(out);
      else if (name == "ext") extension(out);
      else if (name == "options") out.ip_options = hex_bytes();
      else if (name == "cut") out.cut = number(65535);
      else if (name == "lost") out.lost = number(65535);
      else if (name == "doff") out.data_offset = static_cast<std::uint8_t>(number(15));
      else if (name == "at") out.payload_at = number(1u << 20);
      else fail("unknown word in brackets: " + name);
    } while (accept(","));
    expect("]");
  }
  void quoted_udp(Packet& out) {
    ports(out);
    if (out.ports) out.ports = Ports{out.ports->to, out.ports->from};
    expect("(");
    out.quoted_udp = number(65507);
    expect(")");
  }
  wire::IpAddress address() {
    skip();
    std::string text;
    while (is_digit() || is_letter() || peek() == '.' || peek() == ':') text += peek(), advance();
    const auto parsed = wire::IpAddress::parse(text);
    if (!parsed) fail("not an address: " + text);
    return *parsed;
  }
  /// piece 0:1480+ id 7: the plus says that more follows.
  void piece(Packet& out) {
    Piece p;
    p.begin = number(65535);
    expect(":");
    p.end = number(1u << 17);
    if (p.end < p.begin) fail("a piece that ends before it begins");
    p.more = accept("+");
    if (accept_word("id")) p.id = number();
    p.behind = out.extensions.size();
    if (out.piece) fail("a piece of a piece");
    out.piece = p;
  }
  /// ext 60 00 01 04 00 00 00 00: its type, then what stands behind the byte that names the next one.
  void extension(Packet& out) {
    ExtensionHeader e;
    e.type = static_cast<std::uint8_t>(number(255));
    e.bytes = hex_bytes();
    if (out.extensions.size() == 64 || e.bytes.size() > 2047) fail("more extension headers than there is room for");
    out.extensions.push_back(std::move(e));
  }
  void ports(Packet& out) {
    skip();
    if (!is_digit()) return;
    Ports p;
    p.from = static_cast<std::uint16_t>(number(65535));
    expect(">");
    p.to = static_cast<std::uint16_t>(number(65535));
    out.ports = p;
  }
  Range range() { return range(number()); }
  Range range(std::uint32_t begin) {
    Range out;
    out.begin = begin;
    expect(":");
    out.end = number();
    expect("(");
    out.length = number(1u << 20);
    expect(")");
    if (out.end - out.begin != out.length) fail("a range of sequence numbers whose length is another");
    return out;
  }
  std::uint16_t flags() {
    skip();
    static constexpr std::string_view kLetters = "FSRP.UEWA";
    std::uint16_t out = 0;
    if (accept("-")) return 0;
    while (!done()) {
      // A digit is AccECN's counter: A, W and E as one number.
      const bool ace = peek() >= '0' && peek() <= '7';
      const auto place = kLetters.find(peek());
      if (!ace && place == std::string_view::npos) break;
      const auto bits = static_cast<std::uint16_t>(ace ? (peek() - '0') << 6 : 1 << place);
      if ((out & (ace ? 7 << 6 : bits)) != 0) fail("a flag twice");
      out = static_cast<std::uint16_t>(out | bits);
      advance();
    }
    if (out == 0) fail("expected the flags of a TCP segment before " + here());
    return out;
  }
  void tcp(Packet& out, bool inbound) {
    ports(out);
    out.flags = flags();
    out.seq = range();
    if (accept_word("ack")) out.ack = number();
    if (accept_word("win")) {
      if (!inbound && accept("*")) out.window.reset();
      else out.window = number(65535);
    }
    if (accept_word("urg")) out.urgent = number(65535);
    skip();
    if (peek() == '<') tcp_options(out, inbound);
  }
  void tcp_options(Packet& out, bool inbound) {
    expect("<");
    if (accept("...")) {
      if (inbound) fail("a packet that arrives must say its options");
      out.any_options = true;
      return expect(">");
    }
    if (accept(">")) return;
    do out.options.push_back(tcp_option());
    while (accept(","));
    expect(">");
  }
  std::vector<std::uint8_t> hex_bytes() {
    std::vector<std::uint8_t> out;
    while (skip(), std::isxdigit(static_cast<unsigned char>(peek())) != 0) {
      const std::string two{peek(), peek(1)};
      if (std::isxdigit(static_cast<unsigned char>(two[1])) == 0) fail("expected two hexadecimal digits before " + here());
      out.push_back(static_cast<std::uint8_t>(std::stoi(two, nullptr, 16)));
      advance(2);
    }
    return out;
  }
  /// ECN e0b 1 ceb 0 e1b 1, or from e1b on; with fewer fields from the end on.
  std::vector<std::uint8_t> accecn_bytes() {
    std::vector<std::uint8_t> out{172, 2};
    const auto field = [&](const char* name) {
      if (!accept_word(name)) return false;
      const std::uint32_t value = number(0xffffff);
      for (const int shift : {16, 8, 0}) out.push_back(static_cast<std::uint8_t>(value >> shift));
      return true;
    };
    const bool order1 = field("e1b");
    if (order1) out[0] = 174;
    if (!order1 && !field("e0b")) fail("expected \"e0b\" or \"e1b\" before " + here());
    if (field("ceb")) field(order1 ? "e0b" : "e1b");
    out[1] = static_cast<std::uint8_t>(out.size());
    return out;
  }
  TcpOption tcp_option() {
    using Kind = TcpOption::Kind;
    TcpOption out;
    const std::string name = word();
    if (name == "nop") {
      out.kind = Kind::nop;
    } else if (name == "eol") {
      out.kind = Kind::end;
    } else if (name == "mss") {
      out.kind = Kind::mss;
      out.value = number(65535);
    } else if (name == "sackOK") {
      out.kind = Kind::sack_permitted;
    } else if (name == "wscale") {
      out.kind = Kind::window_scale;
      out.value = number(255);
    } else if (name == "TS") {
      out.kind = Kind::timestamps;
      if (!accept_word("val")) fail("expected \"val\" before " + here());
      out.value = number();
      if (!accept_word("ecr")) fail("expected \"ecr\" before " + here());
      out.echo = number();
    } else if (name == "sack") {
      out.kind = Kind::sack;
      while (skip(), is_digit()) {
        const std::uint32_t left = number();
        expect(":");
        out.blocks.emplace_back(left, number());
      }
      if (out.blocks.empty()) fail("a SACK option without blocks");
    } else if (name == "FO") {
      // FO alone asks for a cookie, FO 0123456789abcdef has one.
      out.kind = Kind::raw;
      const std::vector<std::uint8_t> cookie = hex_bytes();
      if (cookie.size() > 38) fail("an option has 1 to 40 bytes");
      out.raw = {34, static_cast<std::uint8_t>(2 + cookie.size())};
      out.raw.insert(out.raw.end(), cookie.begin(), cookie.end());
    } else if (name == "ECN") {
      out.kind = Kind::raw;
      out.raw = accecn_bytes();
    } else if (name == "hex") {
      out.kind = Kind::raw;
      out.raw = hex_bytes();
      if (out.raw.empty() || out.raw.size() > 40) fail("an option has 1 to 40 bytes");
    } else {
      fail("unknown TCP option: " + name);
    }
    return out;
  }
  void icmp(Packet& out) {
    const std::string type = word();
    skip();
    if (type == "type") {
      out.icmp_type = static_cast<std::uint8_t>(number(255));
      if (!accept_word("code")) fail("expected \"code\" before " + here());
      out.icmp_code = static_cast<std::uint8_t>(number(255));
    } else {
      const auto of_type = [&](const IcmpName& row) { return row.v6 == out.icmpv6 && row.type == type; };
      if (std::ranges::none_of(icmp_names(), of_type)) fail("unknown ICMP message: " + type);
      const auto row = std::ranges::find_if(icmp_names(), [&](const IcmpName& one) {
        return of_type(one) && (one.code.empty() || accept_word(one.code));
      });
      if (row == icmp_names().end()) fail("unknown code of " + type + " before " + here());
      out.icmp_type = row->type_number;
      out.icmp_code = row->code_number;
    }
    if (accept_word("mtu") || accept_word("pointer")) out.mtu = number(65535);
    if (accept("(")) {
      out.length = number(65507);
      expect(")");
    }
  }

  // ---- calls
  CallEvent call() {
    CallEvent out;
    out.name = word();
    expect("(");
    if (!accept(")")) {
      do out.arguments.push_back(value(0));
      while (accept(","));
      expect(")");
    }
    expect("=");
    if (accept("*")) {
      out.any_result = true;
      return out;
    }
    out.result = sum(0).integer;
    skip();
    // -1 EAGAIN (Resource temporarily unavailable): the words in parentheses are for people.
    if (out.result == -1 && is_letter()) {
      out.error_name = word();
      const auto number = errno_of(out.error_name);
      if (!number) fail("unknown error: " + out.error_name);
      out.error = *number;
      if (accept("(")) until(")", "the words of an error");
    }
    return out;
  }
  Value value(int depth) {
    if (depth > kMaxDepth) fail("too many brackets in brackets");
    skip();
    Value out;
    if (accept("...")) return out;
    if (accept("\"")) {
      out.kind = Value::Kind::text;
      out.text = until("\"", "a text");
      return out;
    }
    if (accept("[")) {
      out.kind = Value::Kind::list;
      if (accept("]")) return out;
      do out.items.push_back(value(depth + 1));
      while (accept(","));
      expect("]");
      return out;
    }
    if (accept("{")) {
      out.kind = Value::Kind::structure;
      if (accept("}")) return out;
      do out.fields.push_back(field(depth + 1));
      while (accept(","));
      expect("}");
      return out;
    }
    return sum(depth);
  }
  /// name=value, name(...)=value, or a value alone.
  Field field(int depth) {
    const auto mark = std::pair{at_, line_};
    skip();
    if (is_letter()) {
      Field out;
      out.name = word();
      if (accept("(")) until(")", "the parenthesis of a field");
      if (accept("=")) {
        out.value.push_back(value(depth));
        return out;
      }
      std::tie(at_, line_) = mark;
    }
    return {"", {value(depth)}};
  }
  /// Numbers and names, or'ed: O_RDWR|O_NONBLOCK. htons(), htonl() and inet_addr() change nothing here: addresses are said, not stored.
  Value sum(int depth) {
    Value out = term(depth);
    while (accept("|")) {
      const Value more = term(depth);
      if (out.kind != Value::Kind::integer || more.kind != Value::Kind::integer) fail("only numbers can be or'ed");
      out.integer |= more.integer;
    }
    return out;
  }
  Value term(int depth) {
    skip();
    Value out;
    out.kind = Value::Kind::integer;
    if (is_digit() || peek() == '-') {
      out.integer = integer();
      return out;
    }
    const std::string name = word();
    if (name == "htons" || name == "htonl" || name == "inet_addr" || name == "inet_pton") {
      expect("(");
      if (name == "inet_pton" && accept_word("AF_INET6")) expect(",");
      out = value(depth + 1);
      expect(")");
      return out;
    }
    auto known = symbol(name);
    if (!known) known = errno_of(name);
    if (!known) fail("unknown name: " + name);
    out.integer = *known;
    return out;
  }

  const std::string& text_;
  std::size_t at_ = 0;
  int line_ = 1;
};

}  // namespace

Script parse(const std::string& text) { return Parser(text).script(); }

}  // namespace iopkt::script
