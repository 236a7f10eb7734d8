// FlatMap: a hash table in one piece of memory, for keys that strangers choose (give it a keyed hash) and
// with a bound. Linear probing; erasing closes the gap (Knuth, vol. 3, 6.4, algorithm R), so there are no
// tombstones and no decay.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "base/assert.hpp"
#include "base/random.hpp"

namespace iopkt {

/// The hash for keys that are nothing but their bytes: nobody who does not know the key can make them
/// collide.
struct SipHash {
  HashKey key;
  template <class T>
  std::uint64_t operator()(const T& value) const {
    static_assert(std::has_unique_object_representations_v<T>, "a key with padding has no defined bytes");
    return siphash24(key, as_bytes(&value, sizeof value));
  }
};

/// What an element takes: its key lies beside the value,
template <class Key, class Value>
struct KeyBeside {
  KeyBeside(const Key& its_key, Value&& its_value) : key_(its_key), value(std::move(its_value)) {}
  const Key& key() const { return key_; }

 private:
  Key key_;

 public:
  Value value;
};
/// or is what Of(value) says, for as long as the element is in the map: where values are pointers to what knows its key.
template <class Key, class Value, auto Of>
struct KeyInside {
  KeyInside(const Key&, Value&& its_value) : value(std::move(its_value)) {}
  Key key() const { return Of(value); }

  Value value;
};

/// @tparam Key, Value  Moving them never throws. Key has ==.
/// @tparam Hash        hash(key) answers 64 bits of which the lower 31 are well mixed.
/// @context One thread. Every insertion and erasure ends the life of all pointers into the map.
/// @cost    O(1), but for the insertion that doubles the memory: O(n). reserve() takes that on itself.
/// @tparam Slot        KeyBeside or KeyInside. An insertion takes the key that it is given: the value may come to know it afterwards, but
///                     before the map is asked again.
template <class Key, class Value, class Hash, class Slot = KeyBeside<Key, Value>>
class FlatMap {
 public:
  static constexpr std::size_t kMostElements = std::size_t{1} << 30;

  /// `max_size`: so many elements at most, 1..kMostElements. No memory before the first insertion.
  explicit FlatMap(Hash hash, std::size_t max_size = kMostElements)
      : hash_(std::move(hash)), max_size_(max_size) {
    static_assert(std::is_nothrow_move_constructible_v<Slot>);
    IOPKT_ASSERT(max_size > 0 && max_size <= kMostElements);
  }
  FlatMap(const FlatMap&) = delete;
  FlatMap& operator=(const FlatMap&) = delete;
  /// `other` is empty afterwards.
  FlatMap(FlatMap&& other) noexcept : hash_(other.hash_), max_size_(other.max_size_) { swap_table(other); }
  FlatMap& operator=(FlatMap&& other) noexcept {
    if (this == &other) return *this;
    clear();
    hash_ = other.hash_;
    max_size_ = other.max_size_;
    swap_table(other);
    return *this;
  }
  ~FlatMap() { clear(); }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::size_t max_size() const { return max_size_; }
  /// Slots that there is memory for.
  std::size_t capacity() const { return capacity_; }

  /// nullptr if there is none.
  Value* find(const Key& key) {
    const std::size_t at = index_of(key);
    return at == kNone ? nullptr : &slots_[at].value;
  }
  const Value* find(const Key& key) const {
    const std::size_t at = index_of(key);
    return at == kNone ? nullptr : &slots_[at].value;
  }
  bool contains(const Key& key) const { return index_of(key) != kNone; }

  struct Inserted {
    Value* value;  ///< The element of this key, old or new; nullptr if the map is full and has none.
    bool is_new;
  };
  /// Finds, or makes a Value of `args`.
  template <class... Args>
  Inserted try_emplace(const Key& key, Args&&... args) {
    const std::uint32_t tag = tag_of(key);
    if (const std::size_t at = find_tag(tag, key); at != kNone) return {&slots_[at].value, false};
    if (size_ >= max_size_) return {nullptr, false};
    if (size_ + 1 > most_in(capacity_)) grow(std::max<std::size_t>(kFirstCapacity, capacity_ * 2));
    const std::size_t at = first_free(tag);
    ::new (static_cast<void*>(&slots_[at])) Slot(key, Value(std::forward<Args>(args)...));
    tags_[at] = tag;
    ++size_;
    return {&slots_[at].value, true};
  }

  /// True if there was one.
  bool erase(const Key& key) {
    const std::size_t at = index_of(key);
    if (at == kNone) return false;
    erase_at(at);
    return true;
  }

  /// Calls visit(const Key&, Value&) for each element, in no order that means anything. It must not change
  /// the map.
  template <class F>
  void for_each(F visit) {
    for (std::size_t at = 0; at < capacity_; ++at)
      if (tags_[at] != 0) visit(slots_[at].key(), slots_[at].value);
  }
  template <class F>
  void for_each(F visit) const {
    for (std::size_t at = 0; at < capacity_; ++at)
      if (tags_[at] != 0) visit(slots_[at].key(), std::as_const(slots_[at].value));
  }

  /// Erases each element for which dead(const Key&, Value&) is true; asks once for each. Answers how many.
  template <class F>
  std::size_t erase_if(F dead) {
    if (size_ == 0) return 0;
    // From a free slot on, an erasure only moves elements that were not asked yet.
    std::size_t at = 0;
    while (tags_[at] != 0) ++at;
    std::size_t erased = 0;
    for (std::size_t left = capacity_; left > 0; --left) {
      at = (at + 1) & (capacity_ - 1);
      while (tags_[at] != 0 && dead(slots_[at].key(), slots_[at].value)) {
        erase_at(at);
        ++erased;
      }
    }
    return erased;
  }

  /// Gets the memory for `count` elements now (at most max_size() of them).
  void reserve(std::size_t count) {
    count = std::min(count, max_size_);
    std::size_t wanted = std::max<std::size_t>(kFirstCapacity, std::bit_ceil(count));
    if (count > most_in(wanted)) wanted *= 2;
    if (wanted > capacity_) grow(wanted);
  }

  /// Erases all and gives the memory back.
  void clear() {
    for (std::size_t at = 0; at < capacity_; ++at)
      if (tags_[at] != 0) slots_[at].~Slot();
    release(slots_, capacity_);
    tags_.reset();
    slots_ = nullptr;
    size_ = capacity_ = 0;
  }

 private:
  static constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t kFirstCapacity = 16;
  static constexpr std::uint32_t kUsed = 0x80000000u;

  /// Up to three quarters full, so a search looks at 2.5 slots on average, at 8.5 when there is nothing to
  /// find.
  static constexpr std::size_t most_in(std::size_t capacity) { return capacity / 4 * 3; }
  static void release(Slot* slots, std::size_t capacity) {
    if (slots != nullptr) std::allocator<Slot>{}.deallocate(slots, capacity);
  }

  /// The hash's low 31 bits, of which the lowest choose the slot; a tag of 0 is a free slot.
  std::uint32_t tag_of(const Key& key) const { return static_cast<std::uint32_t>(hash_(key)) | kUsed; }
  std::size_t home_of(std::uint32_t tag) const { return (tag & ~kUsed) & (capacity_ - 1); }
  std::size_t index_of(const Key& key) const { return size_ == 0 ? kNone : find_tag(tag_of(key), key); }
  std::size_t find_tag(std::uint32_t tag, const Key& key) const {
    if (size_ == 0) return kNone;
    for (std::size_t at = home_of(tag); tags_[at] != 0; at = (at + 1) & (capacity_ - 1))
      if (tags_[at] == tag && slots_[at].key() == key) return at;
    return kNone;
  }
  std::size_t first_free(std::uint32_t tag) const {
    std::size_t at = home_of(tag);
    while (tags_[at] != 0) at = (at + 1) & (capacity_ - 1);
    return at;
  }
  void move_slot(Slot& from, Slot& to) {
    ::new (static_cast<void*>(&to)) Slot{std::move(from)};
    from.~Slot();
  }

  void erase_at(std::size_t hole) {
    slots_[hole].~Slot();
    tags_[hole] = 0;
    --size_;
    const std::size_t mask = capacity_ - 1;
    for (std::size_t at = (hole + 1) & mask; tags_[at] != 0; at = (at + 1) & mask) {
      // May move into the hole unless its home lies behind the hole: between hole (exclusive) and itself.
      if (((at - home_of(tags_[at])) & mask) < ((at - hole) & mask)) continue;
      move_slot(slots_[at], slots_[hole]);
      tags_[hole] = tags_[at];
      tags_[at] = 0;
      hole = at;
    }
  }

  void grow(std::size_t capacity) {
    auto tags = std::make_unique<std::uint32_t[]>(capacity);
    Slot* const slots = std::allocator<Slot>{}.allocate(capacity);
    std::swap(tags_, tags);
    Slot* const old_slots = std::exchange(slots_, slots);
    const std::size_t old_capacity = std::exchange(capacity_, capacity);
    for (std::size_t at = 0; at < old_capacity; ++at) {
      if (tags[at] == 0) continue;
      const std::size_t to = first_free(tags[at]);
      move_slot(old_slots[at], slots_[to]);
      tags_[to] = tags[at];
    }
    release(old_slots, old_capacity);
  }

  void swap_table(FlatMap& other) noexcept {
    std::swap(tags_, other.tags_);
    std::swap(slots_, other.slots_);
    std::swap(capacity_, other.capacity_);
    std::swap(size_, other.size_);
  }

  Hash hash_;
  std::size_t max_size_;
  std::unique_ptr<std::uint32_t[]> tags_;
  Slot* slots_ = nullptr;
  std::size_t capacity_ = 0;  ///< 0 or a power of two
  std::size_t size_ = 0;
};

}  // namespace iopkt
