// A value that few of many owners have, and that lies elsewhere: the others pay for a pointer.
#pragma once

#include <memory>
#include <utility>

namespace iopkt {

/// A T, or none. Copied and compared by value, with its owner.
template <class T>
class Box {
 public:
  Box() = default;
  Box(const Box& other) : at_(other.at_ ? std::make_unique<T>(*other.at_) : nullptr) {}
  Box(Box&&) noexcept = default;
  Box& operator=(Box other) noexcept {
    at_ = std::move(other.at_);
    return *this;
  }
  ~Box() = default;

  explicit operator bool() const { return at_ != nullptr; }
  T& operator*() { return *at_; }
  const T& operator*() const { return *at_; }
  T* operator->() { return at_.get(); }
  const T* operator->() const { return at_.get(); }
  /// The value that is there, or a new one.
  T& make() {
    if (!at_) at_ = std::make_unique<T>();
    return *at_;
  }
  void reset() { at_.reset(); }

  friend bool operator==(const Box& a, const Box& b) { return a.at_ && b.at_ ? *a.at_ == *b.at_ : !a.at_ && !b.at_; }

 private:
  std::unique_ptr<T> at_;
};

}  // namespace iopkt
