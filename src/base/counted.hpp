// Shared ownership that costs each owner one pointer: the count lies in what is owned.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace iopkt {

/// The base of what CountedPtr points to. Owners may be on several threads. T is the most derived type: its destructor is the one that
/// the last owner runs, and it need not be virtual.
template <class T>
class Counted {
 public:
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 protected:
  Counted() = default;
  ~Counted() = default;

 private:
  template <class U>
  friend class CountedPtr;
  void add_owner() const { owners_.fetch_add(1, std::memory_order_relaxed); }
  void drop_owner() const {
    if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete static_cast<const T*>(this);
  }
  mutable std::atomic<std::uint32_t> owners_{0};
};

/// One owner of a T, or of none. T is derived from Counted<T>; the last owner deletes it.
template <class T>
class CountedPtr {
 public:
  CountedPtr() = default;
  CountedPtr(std::nullptr_t) {}
  /// Takes part in owning what `new` gave, or what others own.
  explicit CountedPtr(T* at) : at_(at) {
    if (at_ != nullptr) at_->add_owner();
  }
  CountedPtr(const CountedPtr& other) : CountedPtr(other.at_) {}
  CountedPtr(CountedPtr&& other) noexcept : at_(std::exchange(other.at_, nullptr)) {}
  CountedPtr& operator=(CountedPtr other) noexcept {
    std::swap(at_, other.at_);
    return *this;
  }
  ~CountedPtr() {
    if (at_ != nullptr) at_->drop_owner();
  }

  T* get() const { return at_; }
  T& operator*() const { return *at_; }
  T* operator->() const { return at_; }
  explicit operator bool() const { return at_ != nullptr; }
  void reset() { *this = CountedPtr{}; }
  friend bool operator==(const CountedPtr&, const CountedPtr&) = default;

 private:
  T* at_ = nullptr;
};

template <class T, class... Args>
CountedPtr<T> make_counted(Args&&... args) {
  return CountedPtr<T>{new T(std::forward<Args>(args)...)};
}

}  // namespace iopkt
