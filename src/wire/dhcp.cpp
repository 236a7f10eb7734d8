#include "wire/dhcp.hpp"

#include <algorithm>

#include "wire/ethernet.hpp"

namespace iopkt::wire {
namespace {

constexpr std::uint32_t kMagic = 0x63825363;
constexpr std::size_t kSnameAt = 44, kSnameLen = 64, kFileAt = 108, kFileLen = 128, kMagicAt = 236;

/// One area of options; what has the same code is one option (RFC 3396). False: one reaches over the end.
bool read_options(Bytes area, DhcpMessage& out) {
  for (std::size_t at = 0; at < area.size();) {
    const auto code = static_cast<DhcpOption>(load_u8(area, at++));
    if (code == DhcpOption::pad) continue;
    if (code == DhcpOption::end) return true;
    if (at >= area.size()) return false;
    const std::size_t length = load_u8(area, at++);
    if (at + length > area.size()) return false;
    out.add(code, area.subspan(at, length));
    at += length;
  }
  return true;
}

}  // namespace

const std::vector<std::byte>* DhcpMessage::find(DhcpOption code) const {
  const auto at = std::find_if(options.begin(), options.end(), [&](const Option& one) { return one.code == code; });
  return at == options.end() ? nullptr : &at->value;
}

std::optional<std::uint8_t> DhcpMessage::number8(DhcpOption code) const {
  const auto* value = find(code);
  return value == nullptr || value->size() != 1 ? std::nullopt : std::optional{load_u8(*value, 0)};
}
std::optional<std::uint16_t> DhcpMessage::number16(DhcpOption code) const {
  const auto* value = find(code);
  return value == nullptr || value->size() != 2 ? std::nullopt : std::optional{load_be16(*value, 0)};
}
std::optional<std::uint32_t> DhcpMessage::number32(DhcpOption code) const {
  const auto* value = find(code);
  return value == nullptr || value->size() != 4 ? std::nullopt : std::optional{load_be32(*value, 0)};
}
std::optional<Ipv4Address> DhcpMessage::address(DhcpOption code) const {
  const auto number = number32(code);
  return number ? std::optional{Ipv4Address{*number}} : std::nullopt;
}

std::vector<Ipv4Address> DhcpMessage::addresses(DhcpOption code) const {
  std::vector<Ipv4Address> out;
  const auto* value = find(code);
  if (value == nullptr || value->size() % 4 != 0) return out;
  for (std::size_t at = 0; at < value->size(); at += 4) out.push_back(load_ipv4(*value, at));
  return out;
}

std::string DhcpMessage::name(DhcpOption code) const {
  std::string out;
  const auto* value = find(code);
  if (value == nullptr) return out;
  for (const std::byte one : *value) {
    const char c = std::to_integer<char>(one);
    if (c <= ' ' || c > '~') break;
    out.push_back(c);
  }
  return out;
}

std::optional<DhcpType> DhcpMessage::type() const {
  const auto number = number8(DhcpOption::message_type);
  return number ? std::optional{static_cast<DhcpType>(*number)} : std::nullopt;
}

std::vector<DhcpMessage::ClasslessRoute> DhcpMessage::classless_routes() const {
  std::vector<ClasslessRoute> out;
  const auto* value = find(DhcpOption::classless_routes);
  if (value == nullptr) return out;
  for (std::size_t at = 0; at < value->size();) {
    ClasslessRoute route{.destination = {}, .length = load_u8(*value, at++), .gateway = {}};
    const std::size_t significant = (route.length + 7u) / 8u;
    if (route.length > 32 || at + significant + 4 > value->size()) return {};
    std::uint32_t destination = 0;
    for (std::size_t i = 0; i < significant; ++i) destination |= std::uint32_t{load_u8(*value, at + i)} << (24 - 8 * i);
    const std::uint32_t mask = route.length == 0 ? 0 : ~std::uint32_t{0} << (32 - route.length);
    route.destination = Ipv4Address{destination & mask};
    route.gateway = load_ipv4(*value, at + significant);
    at += significant + 4;
    out.push_back(route);
  }
  return out;
}

DhcpMessage& DhcpMessage::add(DhcpOption code, Bytes value) {
  auto at = std::find_if(options.begin(), options.end(), [&](const Option& one) { return one.code == code; });
  if (at == options.end()) at = options.insert(options.end(), {code, {}});
  at->value.insert(at->value.end(), value.begin(), value.end());
  return *this;
}
DhcpMessage& DhcpMessage::add8(DhcpOption code, std::uint8_t value) {
  const std::byte one{value};
  return add(code, {&one, 1});
}
DhcpMessage& DhcpMessage::add_address(DhcpOption code, Ipv4Address value) {
  std::array<std::byte, 4> bytes{};
  store_ipv4(bytes, 0, value);
  return add(code, bytes);
}

Expected<DhcpMessage, ParseError> parse_dhcp(Bytes bytes) {
  if (bytes.size() < kDhcpFixedLen) return unexpected(ParseError::truncated);
  DhcpMessage out;
  out.op = load_u8(bytes, 0);
  const bool known = out.op == DhcpMessage::kRequest || out.op == DhcpMessage::kReply;
  if (!known || load_be32(bytes, kMagicAt) != kMagic) return unexpected(ParseError::bad_type);
  if (load_u8(bytes, 1) != 1 || load_u8(bytes, 2) != 6) return unexpected(ParseError::bad_hardware);
  out.xid = load_be32(bytes, 4);
  out.seconds = load_be16(bytes, 8);
  out.broadcast = (load_be16(bytes, 10) & 0x8000) != 0;
  out.ciaddr = load_ipv4(bytes, 12), out.yiaddr = load_ipv4(bytes, 16);
  out.siaddr = load_ipv4(bytes, 20), out.giaddr = load_ipv4(bytes, 24);
  out.hardware = load_mac(bytes, 28);
  if (!read_options(bytes.subspan(kDhcpFixedLen), out)) return unexpected(ParseError::bad_length);
  // RFC 2131 section 4.1: the fields for names may hold more options, the file first.
  const std::uint8_t overload = out.number8(DhcpOption::overload).value_or(0);
  if ((overload & 1) != 0 && !read_options(bytes.subspan(kFileAt, kFileLen), out)) return unexpected(ParseError::bad_length);
  if ((overload & 2) != 0 && !read_options(bytes.subspan(kSnameAt, kSnameLen), out)) return unexpected(ParseError::bad_length);
  return out;
}

std::vector<std::byte> encode_dhcp(const DhcpMessage& message) {
  std::vector<std::byte> out(kDhcpFixedLen);
  store_u8(out, 0, message.op);
  store_u8(out, 1, 1);
  store_u8(out, 2, 6);
  store_be32(out, 4, message.xid);
  store_be16(out, 8, message.seconds);
  store_be16(out, 10, message.broadcast ? 0x8000 : 0);
  store_ipv4(out, 12, message.ciaddr), store_ipv4(out, 16, message.yiaddr);
  store_ipv4(out, 20, message.siaddr), store_ipv4(out, 24, message.giaddr);
  store_mac(out, 28, message.hardware);
  store_be32(out, kMagicAt, kMagic);
  for (const DhcpMessage::Option& option : message.options) {
    std::size_t at = 0;
    do {
      const std::size_t n = std::min<std::size_t>(255, option.value.size() - at);
      out.push_back(static_cast<std::byte>(option.code));
      out.push_back(static_cast<std::byte>(n));
      out.insert(out.end(), option.value.begin() + static_cast<std::ptrdiff_t>(at), option.value.begin() + static_cast<std::ptrdiff_t>(at + n));
      at += n;
    } while (at < option.value.size());
  }
  out.push_back(static_cast<std::byte>(DhcpOption::end));
  out.resize(std::max(out.size(), kDhcpLeastLen));
  return out;
}

}  // namespace iopkt::wire
