#include "utils/iopkt/iopkt.hpp"

#include <elf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "utils/common/test_stack.hpp"

namespace iopkt::utils {
namespace {

std::vector<std::byte> elf(unsigned char word_size, bool interpreter) {
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = word_size;
  header.e_phoff = sizeof header;
  header.e_phnum = 1;
  Elf64_Phdr segment{};
  segment.p_type = interpreter ? PT_INTERP : PT_LOAD;
  std::vector<std::byte> out(sizeof header + sizeof segment);
  std::memcpy(out.data(), &header, sizeof header);
  std::memcpy(out.data() + sizeof header, &segment, sizeof segment);
  return out;
}

TEST(Iopkt, KindsOfPrograms) {
  EXPECT_EQ(why_unreachable_elf(elf(ELFCLASS64, true)), Unreachable::nothing);
  EXPECT_EQ(why_unreachable_elf(elf(ELFCLASS64, false)), Unreachable::static_program);
  EXPECT_EQ(why_unreachable_elf(elf(ELFCLASS32, true)), Unreachable::other_format);
  EXPECT_EQ(why_unreachable_elf({}), Unreachable::nothing);
  auto cut = elf(ELFCLASS64, false);
  for (std::size_t n = 0; n < cut.size(); ++n)
    EXPECT_EQ(why_unreachable_elf(std::span{cut}.first(n)), Unreachable::nothing) << n;
  EXPECT_EQ(why_unreachable("/nonexistent"), Unreachable::missing);
  EXPECT_EQ(why_unreachable("/proc/self/exe"), Unreachable::nothing);
}

TEST(Iopkt, Interpreters) {
  const std::pair<std::string, std::string> cases[] = {
      {"#!/bin/sh\necho", "/bin/sh"},
      {"#! /usr/bin/env python3\n", "/usr/bin/env"},
      {"#!/bin/sh", "/bin/sh"},
      {"#!", ""},
      {"\x7f"
       "ELF",
       ""},
      {"", ""},
  };
  for (const auto& [text, interpreter] : cases)
    EXPECT_EQ(interpreter_of(std::as_bytes(std::span{text.data(), text.size()})), interpreter) << text;
}

TEST(Iopkt, SetuidProgramsOfOthersAreSeen) {
  if (::getuid() != 0) GTEST_SKIP() << "only root can make a file of another user";
  char name[] = "/tmp/iopkt_test.XXXXXX";
  const int fd = ::mkstemp(name);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::fchown(fd, 65534, 65534), 0);
  ASSERT_EQ(::fchmod(fd, 04755), 0);
  EXPECT_EQ(why_unreachable(name), Unreachable::setuid);
  ::close(fd);
  ::unlink(name);
}

TEST(Iopkt, EveryReasonIsExplained) {
  for (const Unreachable why : {Unreachable::setuid, Unreachable::capabilities, Unreachable::static_program,
                                Unreachable::other_format, Unreachable::missing})
    EXPECT_NE(explain(why, "/bin/x").find("/bin/x"), std::string::npos);
}

TEST(Iopkt, Programs) {
  EXPECT_TRUE(find_program("sh").ends_with("/sh"));
  EXPECT_EQ(find_program("/bin/sh"), "/bin/sh");
  EXPECT_EQ(find_program("/tmp"), "");
  EXPECT_EQ(find_program("no-such-program-here"), "");
}

TEST(Iopkt, Instances) {
  ::setenv("TZ", "UTC", 1);
  const std::vector<ipc::InstanceRecord> records{{.instance = 0,
                                                  .pid = 71,
                                                  .start_ticks = 1,
                                                  .started = 1'000'000'000,
                                                  .variant = "io-pkt-v4-hc",
                                                  .prefix = ""},
                                                 {.instance = 1,
                                                  .pid = 4194304,
                                                  .start_ticks = 2,
                                                  .started = 1'700'000'000,
                                                  .variant = "io-pkt-v4-hc",
                                                  .prefix = "/alt"}};
  expect_golden("iopkt_ps.txt", show_instances(records));
  expect_golden("iopkt_ps.json", to_json(instances_tree(records)));
}

}  // namespace
}  // namespace iopkt::utils
