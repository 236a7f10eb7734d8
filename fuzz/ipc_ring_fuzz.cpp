// The stack's side of the rings against a client that writes anything into the shared words between any two steps, also inside
// the system calls of a step. The stack must stay inside its rings and always come back.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "ipc/arena.hpp"
#include "ipc/datagram_ring.hpp"
#include "ipc/doorbell.hpp"

namespace {
using namespace iopkt::ipc;

constexpr std::size_t kSize = 4096;

void require(bool belief) {
  if (!belief) std::abort();
}

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  bool empty() const { return at_ >= size_; }
  std::uint8_t byte() { return empty() ? 0 : data_[at_++]; }
  std::uint64_t number() {
    std::uint64_t n = 0;
    const unsigned bytes = byte() % 9;
    for (unsigned i = 0; i < bytes; ++i) n = n << 8 | byte();
    return n;
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_, at_ = 0;
};

/// The hostile client: any word of the slot, any byte of the send ring; positions that are nearly right more often than chance.
class World final : public StackIo {
 public:
  explicit World(Input& input, bool datagram)
      : input_(input), datagram_(datagram), receive_memory_(kSize), send_memory_(kSize), spare_(2 * kSize) {
    reset_slot(*slot_, 2, 1, 0, 1, 0);
    producer = ReceiveRingProducer{*slot_};
    consumer = SendRingConsumer{*slot_, datagram};
    producer.set_ring(receive_memory_.data(), RingRef::make(kSize, kSize, 0));
    consumer.set_ring(send_memory_.data(), RingRef::make(2 * kSize, kSize, 0));
  }

  void scribble() {
    auto* words = reinterpret_cast<std::atomic<std::uint64_t>*>(slot_.get());
    const std::uint8_t what = input_.byte();
    const std::uint64_t value = input_.number();
    switch (what % 8) {
      case 0: words[value % (sizeof(Slot) / 8)] = input_.number(); break;
      case 1: slot_->rx_head = PositionWord::make((producer.tail() - value % (2 * kSize)) & kPositionMask, producer.epoch()).bits; break;
      case 2: slot_->tx_tail = PositionWord::make((consumer.head() + value % (2 * kSize)) & kPositionMask, consumer.epoch()).bits; break;
      case 3: slot_->rx_word = slot_->rx_word ^ (value & 0xffff); break;
      case 4: slot_->tx_word = slot_->tx_word ^ (value & 0xffff); break;
      case 5: send_memory_[value % kSize] = static_cast<std::byte>(input_.byte()); break;
      case 6: slot_->rx_lowat = static_cast<std::uint32_t>(value); break;
      case 7: put_record(value); break;
    }
  }

  void stack_step() {
    switch (input_.byte() % 13) {
      case 0: publish(input_.number()); break;
      case 1: producer.flush(*this); break;
      case 2: producer.repair(); break;
      case 3: producer.recheck(); break;
      case 4: (void)producer.ask_for_bell(input_.number() & kPositionMask); break;
      case 5: move_receive_ring(); break;
      case 6: consume(input_.number()); break;
      case 7: consumer.on_units(*this); break;
      case 8: consumer.release(*this); break;
      case 9: put_datagram(input_.number()); break;
      case 10: take_datagrams(); break;
      case 11: producer.set_mode(static_cast<Mode>(input_.byte() % 3)); break;
      case 12: (void)producer.set_urgent(producer.tail() + input_.byte(), input_.byte(), input_.byte() % 2 == 0); break;
    }
    require(producer.unread() <= producer.size());
    require(consumer.queued() <= consumer.size());
  }
  bool broken() const { return producer.broken() || consumer.broken(); }

  Sent send_token() override { return hostile_call(), static_cast<Sent>(input_.byte() % 3); }
  Sent send_urgent() override { return hostile_call(), static_cast<Sent>(input_.byte() % 3); }
  bool token_queued() override { return hostile_call(), input_.byte() % 2 == 0; }
  unsigned units_above_ballast() override { return hostile_call(), input_.byte() % 6; }
  bool take_unit() override { return hostile_call(), input_.byte() % 8 != 0; }
  void wake(const std::atomic<std::uint64_t>&) override { hostile_call(); }

  ReceiveRingProducer producer;
  SendRingConsumer consumer;
  int calls = 0;

 private:
  void hostile_call() {
    require(++calls < 10'000);
    if (input_.byte() % 2 == 0) scribble();
  }
  void publish(std::uint64_t n) {
    const std::size_t space = producer.free_space();
    n = space == 0 ? 0 : n % (space + 1);
    for (std::uint64_t i = 0; i < n; i += 61) {
      producer.base()[(producer.tail() + i) & (producer.size() - 1)] = std::byte{1};
    }
    const std::uint64_t before = producer.tail();
    producer.publish((before + n) & kPositionMask);
    require(distance(before, producer.tail()) == n);
  }
  void move_receive_ring() {
    const std::uint16_t next = static_cast<std::uint16_t>(producer.epoch() + 1);
    const bool in_spare = producer.base() == spare_.data();
    std::byte* to = in_spare ? receive_memory_.data() : spare_.data();
    (void)producer.move_ring(to, RingRef::make(3 * kSize, in_spare ? kSize : 2 * kSize, next));
  }
  void consume(std::uint64_t n) {
    const std::size_t there = consumer.queued();
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < there; ++i) {
      sum += std::to_integer<unsigned>(consumer.base()[(consumer.head() + i) & (consumer.size() - 1)]);
    }
    if (sum == 1) scribble();
    consumer.consume_to((consumer.head() + n % (there + 1)) & kPositionMask, *this);
  }
  void put_datagram(std::uint64_t n) {
    std::byte payload[3000]{};
    const iovec piece{payload, n % sizeof payload};
    DatagramProducer::put(producer, {}, {&piece, 1});
  }
  void put_record(std::uint64_t value) {
    RecordHeader header;
    header.payload_len = static_cast<std::uint32_t>(value);
    header.total_len = static_cast<std::uint32_t>(record_size(value % 3000));
    const std::size_t at = consumer.head() & (kSize - 1);
    for (std::size_t i = 0; i < sizeof header; ++i) {
      send_memory_[(at + i) & (kSize - 1)] = reinterpret_cast<const std::byte*>(&header)[i];
    }
  }
  void take_datagrams() {
    if (!datagram_) return;
    std::uint64_t at = consumer.head();
    DatagramConsumer::Datagram got;
    for (int i = 0; DatagramConsumer::next(consumer, at, got); ++i) {
      require(i <= static_cast<int>(kSize / sizeof(RecordHeader)));
      std::uint64_t sum = 0;
      for (const auto part : {got.first, got.second}) {
        for (const std::byte b : part) sum += std::to_integer<unsigned>(b);
      }
      at = got.end;
      if (sum % 3 == 0) scribble();
    }
    if (distance(consumer.head(), at) <= consumer.queued()) consumer.consume_to(at, *this);
  }

  Input& input_;
  bool datagram_;
  std::unique_ptr<Slot> slot_ = std::make_unique<Slot>();
  // Exactly as large as the rings, so that the address sanitizer sees one byte too many.
  std::vector<std::byte> receive_memory_, send_memory_, spare_;
};
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input{data, size};
  World world{input, input.byte() % 2 == 0};
  for (int steps = 0; !input.empty() && !world.broken() && steps < 1000; ++steps) {
    world.calls = 0;
    if (input.byte() % 3 == 0) {
      world.scribble();
    } else {
      world.stack_step();
    }
  }
  return 0;
}
