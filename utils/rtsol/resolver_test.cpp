#include "utils/rtsol/resolver.hpp"

#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "utils/common/test_stack.hpp"

namespace iopkt::utils {
namespace {

constexpr std::string_view kBegin = "# begin: from router advertisements, kept by rtsol\n", kEnd = "# end: from router advertisements\n";

Node answer(std::initializer_list<std::array<std::string, 2>> servers, std::initializer_list<std::array<std::string, 2>> domains,
            std::uint64_t expires_s = 0) {
  Node out;
  Node& first = out.add_list("dns_servers");
  for (const auto& [interface, address] : servers) {
    Node& one = first.inner.emplace_back();
    one.add_text("interface", interface).add_address("address", address);
    if (expires_s != 0) one.add_number("expires_s", expires_s);
  }
  Node& second = out.add_list("dns_domains");
  for (const auto& [interface, name] : domains) second.inner.emplace_back().add_text("interface", interface).add_text("domain", name);
  return out;
}

TEST(RtsolResolver, TakesWhatIsGoodOfItsInterfaces) {
  const Advertised a = advertised_of(answer({{"en0", "2001:db8::53"}, {"en1", "2001:db8::54"}, {"en0", "fe80::1%en0"}, {"en0", "2001:db8::53"},
                                             {"en0", "10.0.0.1"}, {"en0", "::"}, {"en0", "ff02::fb"}, {"en0", "2001:db8::1\nsearch evil"}, {"en0", "fe80::1%a b"}},
                                            {{"en0", "example.org"}, {"en0", "a\nnameserver ::1"}, {"en0", "a b"}, {"en0", "-x"}, {"en0", ".x"}, {"en1", "other.org"}}, 40),
                                     {"en0"});
  EXPECT_EQ(a.servers, (Words{"2001:db8::53", "fe80::1%en0"}));
  EXPECT_EQ(a.domains, Words{"example.org"});
  EXPECT_EQ(a.next_s, 40u);
}

TEST(RtsolResolver, IsBounded) {
  Node many = answer({}, {});
  for (int i = 0; i < 100; ++i) many.inner[0].inner.emplace_back().add_text("interface", "en0").add_address("address", "2001:db8::" + std::to_string(i + 1));
  EXPECT_EQ(advertised_of(many, {"en0"}).servers.size(), Advertised::kMost);
}

/// RFC 8106 section 5.3.1: what DHCP or an operator said comes first.
TEST(RtsolResolver, StandsBehindWhatOthersWrote) {
  const Advertised a{.servers = {"2001:db8::53", "10.0.0.53"}, .domains = {"example.org", "own.test"}, .next_s = {}};
  const std::string others = "nameserver 10.0.0.53\nsearch own.test sub.own.test\noptions timeout:2";
  const std::string with = resolver_with(others, a);
  EXPECT_EQ(with, others + "\n" + std::string{kBegin} + "nameserver 2001:db8::53\nsearch own.test sub.own.test example.org\n" + std::string{kEnd});
  EXPECT_EQ(resolver_with(with, a), with) << "nothing changes what is right";
  EXPECT_EQ(resolver_with(with, {}), others + "\n");
  EXPECT_EQ(resolver_with(with, {.servers = {"2001:db8::1"}, .domains = {}, .next_s = {}}),
            others + "\n" + std::string{kBegin} + "nameserver 2001:db8::1\n" + std::string{kEnd});
  EXPECT_EQ(resolver_with("", a), std::string{kBegin} + "nameserver 2001:db8::53\nnameserver 10.0.0.53\nsearch example.org own.test\n" + std::string{kEnd});
  EXPECT_EQ(resolver_with("", {}), "");
}

/// Somebody has edited the file.
TEST(RtsolResolver, APartWithoutAnEndTakesNothingOfOthersAlong) {
  const Advertised a{.servers = {"2001:db8::53"}, .domains = {}, .next_s = {}};
  const std::string begin{kBegin}, whole = begin + "nameserver 2001:db8::53\n" + std::string{kEnd};
  EXPECT_EQ(resolver_with(begin + "nameserver 2001:db8::1\n", {}), "");
  EXPECT_EQ(resolver_with("options edns0\n" + begin + "nameserver 2001:db8::1\nsearch a.test\nnameserver 10.0.0.1\noptions timeout:2\n", {}),
            "options edns0\nnameserver 10.0.0.1\noptions timeout:2\n");
  EXPECT_EQ(resolver_with(begin + "nameserver 10.0.0.1\nnameserver 2001:db8::9\n", a), "nameserver 10.0.0.1\nnameserver 2001:db8::9\n" + whole);
  EXPECT_EQ(resolver_with(begin + "nameserver 2001:db8::1\n# mine\n" + whole, a), "# mine\n" + whole) << "the next part has its own end";
  EXPECT_EQ(resolver_with(std::string{kEnd} + "options edns0\n", {}), std::string{kEnd} + "options edns0\n");
}

int looks = 0;
std::string path;
std::string content() {
  std::ifstream in{path};
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}
std::vector<std::pair<unsigned, std::string>> seen;

TEST(RtsolResolver, KeepsTheFileAndTakesItsPartAway) {
  char folder[] = "/tmp/rtsol-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  path = std::string{folder} + "/resolv.conf";
  std::ofstream{path} << "nameserver 10.0.0.53\n";
  TestStack stack;
  stack.answers["discovery.list"] = answer({{"en0", "2001:db8::53"}}, {}, 3);
  looks = 0, seen.clear();
  Io io{"rtsol"};
  EXPECT_EQ(keep_resolver(io, stack, {"en0"}, path, [](unsigned ms) { seen.emplace_back(ms, content()); }, [] { return looks++ == 2; }), 0);
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].first, 3000u) << "until the first of them is over";
  EXPECT_NE(seen[0].second.find("nameserver 2001:db8::53\n"), std::string::npos);
  EXPECT_EQ(content(), "nameserver 10.0.0.53\n");
  // The stack has gone.
  stack.refusals["discovery.list"] = {6, "gone"};
  looks = 0;
  EXPECT_EQ(keep_resolver(io, stack, {"en0"}, path, [](unsigned) {}, [] { return looks++ == 2; }), 1);
  EXPECT_EQ(content(), "nameserver 10.0.0.53\n");
  stack.refusals.clear();
  looks = 0;
  EXPECT_EQ(keep_resolver(io, stack, {"en0"}, std::string{folder} + "/none/resolv.conf", [](unsigned) {}, [] { return looks++ == 2; }), 1);
  ::unlink(path.c_str());
  ::rmdir(folder);
}

}  // namespace
}  // namespace iopkt::utils
