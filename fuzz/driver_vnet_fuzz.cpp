// What drivers read of foreign bytes: virtio-net headers, rtnetlink messages, option texts.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "drivers/packet/link_watch.hpp"
#include "drivers/pcap/speed.hpp"
#include "drivers/slirp/settings.hpp"
#include "drivers/support/host_if.hpp"
#include "drivers/support/vnet.hpp"

namespace {

void require(bool belief) {
  if (!belief) std::abort();
}

/// Ten bytes of header, one for the size of the pieces, the rest is the frame. What is accepted lies inside,
/// and can be sent again.
void header(const std::uint8_t* data, std::size_t size) {
  if (size < 12) return;
  devnp::VnetHeader h;
  std::memcpy(&h, data, sizeof h);
  const std::uint32_t step = data[10] + 1u;
  std::vector<std::vector<std::uint8_t>> memory; /* each piece by itself: a sanitizer sees every overrun */
  std::vector<iopkt_piece> pieces;
  for (std::size_t at = 11; at < size; at += step) {
    memory.emplace_back(data + at, data + std::min(size, at + step));
    const auto n = static_cast<std::uint32_t>(memory.back().size());
    pieces.push_back({memory.back().data(), n, n});
  }
  iopkt_frame frame{};
  frame.piece = pieces.data();
  frame.piece_count = frame.piece_capacity = static_cast<std::uint16_t>(pieces.size());
  frame.len = static_cast<std::uint32_t>(size - 11);
  if (!devnp::vnet_to_frame(h, &frame)) return;
  if ((frame.flags & IOPKT_CSUM_NEEDED) != 0)
    require(std::uint32_t{frame.csum_start} + frame.csum_offset + 2 <= frame.len);
  if ((frame.flags & devnp::kGsoFlags) == 0) return;
  require(frame.gso_size != 0 && frame.header_len != 0 && frame.header_len <= frame.len);
  devnp::VnetHeader again;
  const bool summed = (frame.flags & IOPKT_CSUM_NEEDED) != 0;
  require(devnp::vnet_from_frame(&frame, &again) == summed);
  if (summed)
    require(again.gso_type ==
            (again.gso_type == devnp::kVnetGsoUdpL4 ? (h.gso_type & ~devnp::kVnetGsoEcn) : h.gso_type));
}

void messages(const std::uint8_t* data, std::size_t size) {
  std::vector<std::uint32_t> aligned((size + 3) / 4);
  if (size != 0) std::memcpy(aligned.data(), data, size);
  (void)devnp_packet::LinkWatch::parse(reinterpret_cast<const char*>(aligned.data()), size, 1);
}

void texts(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  std::uint32_t speed = 0;
  if (devnp_pcap::parse_speed(text.c_str(), &speed)) require(speed <= devnp_pcap::kSpeedMax * 1000u);
  devnp::HostAddress address;
  if (devnp::parse_host_address(text.c_str(), &address)) require(address.length <= 32);
  devnp_slirp::Settings settings;
  if (devnp_slirp::parse_network(text.c_str(), nullptr, nullptr, nullptr, &settings) == nullptr) {
    require((settings.guest & settings.mask) == settings.network && settings.guest != settings.host);
  }
  settings = {};
  require(devnp_slirp::parse_network("10.0.2.0/24", nullptr, nullptr, nullptr, &settings) == nullptr);
  const char* bad = nullptr;
  if (!devnp_slirp::parse_forwards(text.c_str(), &settings, &bad)) {
    require(bad >= text.c_str() && bad <= text.c_str() + text.size());
    return;
  }
  require(settings.forward_count >= 1 && settings.forward_count <= devnp_slirp::kForwardMax);
  for (std::size_t i = 0; i < settings.forward_count; ++i) {
    const auto& f = settings.forward[i];
    require(f.host_port != 0 && f.guest_port != 0 && (f.guest_address & settings.mask) == settings.network);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  switch (data[0] % 3) {
    case 0:
      header(data + 1, size - 1);
      break;
    case 1:
      messages(data + 1, size - 1);
      break;
    default:
      texts(data + 1, size - 1);
      break;
  }
  return 0;
}
