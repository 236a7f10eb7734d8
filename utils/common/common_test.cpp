#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "utils/common/files.hpp"
#include "utils/common/test_stack.hpp"

namespace iopkt::utils {
namespace {

TEST(Tree, RecordsAndBack) {
  Node root;
  root.add_text("name", "en0")
      .add_number("big", UINT64_MAX)
      .add_boolean("up", true)
      .add_address("a", "10.0.0.1");
  root.add_list("empty");
  Node& list = root.add_list("list");
  list.inner.emplace_back().add_number("n", 1);
  list.inner.emplace_back().add_text("t", "x");
  const auto back = read_tree(write_tree(root));
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(to_json(*back), to_json(root));
  EXPECT_EQ(back->number_of("big"), UINT64_MAX);
  EXPECT_EQ(back->text_of("a"), "10.0.0.1");
  EXPECT_EQ(back->list("list").size(), 2u);
  EXPECT_EQ(back->number_of("name", 7), 7u);
}

TEST(Tree, CutRecordsAreRefusedWhateverTheirLength) {
  Node root;
  root.add_list("list").inner.emplace_back().add_text("t", "text");
  const auto blob = write_tree(root);
  for (std::size_t n = 1; n < blob.size(); ++n)
    EXPECT_FALSE(read_tree(std::span{blob}.first(n)).has_value()) << n;
}

TEST(Tree, JsonAndBack) {
  const std::string json = read_golden("interfaces.json");
  const auto tree = from_json(json);
  ASSERT_TRUE(tree.has_value());
  const auto again = from_json(to_json(*tree));
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(to_json(*again), to_json(*tree));
  for (const char* bad : {"", "[1]", "{", "3"}) EXPECT_FALSE(from_json(bad).has_value()) << bad;
}

TEST(Text, Options) {
  const Words words{"-ab", "-fvalue", "-f", "next", "-c", "rest", "-a"};
  Options options{words, "abc", "f"};
  std::string seen;
  Words values;
  for (char c = options.next(); c != 0; c = options.next()) {
    seen += c;
    if (c == 'f') values.push_back(options.value());
  }
  EXPECT_EQ(seen, "abffc");
  EXPECT_EQ(values, (Words{"value", "next"}));
  EXPECT_EQ(options.rest(), (Words{"rest", "-a"}));
  const Words dashes{"-a", "--", "-b"};
  Options end{dashes, "ab", ""};
  EXPECT_EQ(end.next(), 'a');
  EXPECT_EQ(end.next(), 0);
  EXPECT_EQ(end.rest(), Words{"-b"});
  const Words missing{"-f"};
  EXPECT_EQ((Options{missing, "", "f"}.next()), '?');
  const Words unknown{"-z"};
  EXPECT_EQ((Options{unknown, "a", ""}.next()), '?');
}

TEST(Text, Counted) {
  EXPECT_EQ(counted(0, "packets"), "0 packets");
  EXPECT_EQ(counted(1, "packets"), "1 packet");
  EXPECT_EQ(counted(1, "entries"), "1 entry");
  EXPECT_EQ(counted(1, "addresses"), "1 address");
}

TEST(Text, Human) {
  const std::pair<std::uint64_t, const char*> cases[] = {
      {0, "0"},       {999, "999"},       {1000, "1.0K"},     {1536, "1.5K"},
      {10240, "10K"}, {5u << 20, "5.0M"}, {UINT64_MAX, "16E"}};
  for (const auto& [n, text] : cases) EXPECT_EQ(human(n), text);
}

TEST(Text, NetworkNames) {
  const struct {
    const char* address;
    std::uint64_t length;
    const char* name;
  } cases[] = {{"0.0.0.0", 0, "default"},     {"10.0.2.0", 24, "10.0.2/24"}, {"127.0.0.0", 8, "127/8"},
               {"10.0.0.0", 24, "10.0.0/24"}, {"10.0.0.1", 32, "10.0.0.1"},  {"10.128.0.0", 9, "10.128/9"},
               {"128.0.0.0", 1, "128/1"}};
  for (const auto& one : cases) EXPECT_EQ(network_name(one.address, one.length), one.name);
}

TEST(Text, Numbers) {
  EXPECT_EQ(parse_number("0x1f", 100), 31u);
  EXPECT_EQ(parse_number("100", 100), 100u);
  for (const char* bad : {"", "0x", "101", "-1", "1 ", " 1", "1.5", "18446744073709551616"})
    EXPECT_FALSE(parse_number(bad, 100).has_value()) << bad;
}

class Files : public ::testing::Test {
 protected:
  void SetUp() override {
    char made[] = "/tmp/files-XXXXXX";
    ASSERT_NE(::mkdtemp(made), nullptr);
    folder = made;
    path = folder + "/resolv.conf";
    std::ofstream{path} << "the operator's\n";
  }
  void TearDown() override {
    for (const char* name : {"/resolv.conf", "/resolv.conf.new", "/link"}) ::unlink((folder + name).c_str());
    ::rmdir(folder.c_str());
  }
  std::string content() const {
    std::ifstream in{path};
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  std::string folder, path;
};

TEST_F(Files, KeepTheirModeAndOwner) {
  ASSERT_EQ(::chmod(path.c_str(), 0604), 0);
  const bool root = ::geteuid() == 0;
  if (root) {
    ASSERT_EQ(::chown(path.c_str(), 12, 34), 0);
  }
  ASSERT_TRUE(replace_file(path, "ours\n", ".new"));
  struct stat st;
  ASSERT_EQ(::stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0604u);
  EXPECT_TRUE(!root || (st.st_uid == 12 && st.st_gid == 34)) << st.st_uid << " " << st.st_gid;
  EXPECT_EQ(content(), "ours\n");
  EXPECT_NE(::access((path + ".new").c_str(), F_OK), 0);
}

TEST_F(Files, StayWhenThereIsNoRoom) {
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit few{.rlim_cur = 4, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &few), 0);
  const bool done = replace_file(path, "more than there is room for\n", ".new");
  const int error = errno;
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, old);
  EXPECT_FALSE(done);
  EXPECT_EQ(error, EFBIG);
  EXPECT_EQ(content(), "the operator's\n");
  EXPECT_NE(::access((path + ".new").c_str(), F_OK), 0);
}

TEST_F(Files, AreWrittenInPlaceBehindALink) {
  const std::string link = folder + "/link";
  ASSERT_EQ(::symlink("resolv.conf", link.c_str()), 0);
  ASSERT_TRUE(replace_file(link, "short\n", ".new"));
  EXPECT_EQ(content(), "short\n");
  struct stat st;
  ASSERT_EQ(::lstat(link.c_str(), &st), 0);
  EXPECT_TRUE(S_ISLNK(st.st_mode));
  EXPECT_FALSE(replace_file(folder + "/none/resolv.conf", "x", ".new"));
  EXPECT_EQ(errno, ENOENT);
}

}  // namespace
}  // namespace iopkt::utils
