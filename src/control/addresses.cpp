// Addresses as operators write and read them: those of a link with the name of its interface (RFC 4007 section 11).
#include "control/handlers.hpp"

namespace iopkt::control {

std::optional<wire::IpAddress> read_address(const Network& network, std::string_view text, std::uint32_t link) {
  const auto [plain, zone] = wire::split_zone(text);
  const auto address = wire::IpAddress::parse(plain);
  if (!address || zone.empty()) return address && text == plain ? std::optional{address->with_zone(link)} : std::nullopt;
  if (!address->has_zone()) return std::nullopt;
  const iface::Interface* named = network.interfaces.by_name(zone);
  if (named == nullptr)
    if (const auto index = wire::parse_decimal(zone, wire::IpAddress::kZoneMax)) named = network.interfaces.by_index(*index);
  if (named == nullptr) return std::nullopt;
  return address->with_zone(named->index);
}

std::string address_text(const Network& network, const wire::IpAddress& address) {
  const iface::Interface* link = address.zone() == 0 ? nullptr : network.interfaces.by_index(address.zone());
  if (link == nullptr) return address.to_string();
  return address.with_zone(0).to_string() + '%' + link->name;
}

std::optional<wire::IpFamily> family_of(const Record& arguments) {
  const std::string_view word = arguments.text_of("family");
  if (word.empty() || word == "inet") return wire::IpFamily::v4;
  if (word == "inet6") return wire::IpFamily::v6;
  return std::nullopt;
}

std::string_view family_name(wire::IpFamily family) { return family == wire::IpFamily::v6 ? "inet6" : "inet"; }

Outcome check_family(const stack::Stack& stack, wire::IpFamily family) {
  if (family == wire::IpFamily::v4 || stack.config().inet6 != nullptr) return done();
  return refuse(Errno::afnosupport, "inet6: only io-pkt-v6-hc has it");
}

}  // namespace iopkt::control
