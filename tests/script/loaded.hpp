// A stack in a shared object, through packetdrill's table: as packetdrill itself loads and drives it.
#pragma once

#include <map>
#include <memory>

#include "tests/script/system.hpp"

struct packetdrill_interface;

namespace iopkt::script {

class Loaded final : public System {
 public:
  /// Errors: throws std::runtime_error (no such library, no such symbol, flags that it refuses).
  Loaded(const std::string& library, const std::string& flags, wire::IpFamily family = wire::IpFamily::v4);
  ~Loaded() override;

  Instant now() const override;
  wire::IpFamily family() const override { return family_; }
  std::optional<std::int64_t> attempt(Request& request) override;
  void inject(Bytes packet) override;
  /// The table cannot look without waiting: always none.
  std::optional<Captured> take() override { return std::nullopt; }
  std::optional<Captured> sniff() override;
  bool step(Instant limit) override;
  std::optional<std::string> set_variable(std::string_view, std::string_view) override { return "the table sets no variables"; }
  std::optional<std::uint64_t> drops(std::string_view) const override { return std::nullopt; }

  const packetdrill_interface& table() const { return *table_; }
  /// Calls that were made through the table, by name.
  const std::map<std::string, std::uint64_t>& calls() const { return calls_; }

 private:
  class Worker;
  std::int64_t perform(Request& request);
  void count(const char* name) const { ++calls_[name]; }

  wire::IpFamily family_;
  void* handle_ = nullptr;
  std::unique_ptr<packetdrill_interface> table_;
  std::unique_ptr<Worker> worker_;
  mutable std::map<std::string, std::uint64_t> calls_;
};

}  // namespace iopkt::script
