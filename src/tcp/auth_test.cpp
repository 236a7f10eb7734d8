// RFC 9235: every test vector of TCP-AO, its derived keys and its MACs. RFC 5925 sections 5 and 6.2, RFC 5926, RFC 2385.
#include "tcp/auth.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <new>
#include <string>

#include "base/random.hpp"
#include "wire/test_frames.hpp"

namespace iopkt::tcp {
namespace {

using wire::test::from_hex;

struct Vectors {
  const char* section;
  bool cmac, without_options;
  std::uint32_t client_isn, server_isn;
  const char* headers[4];  ///< SYN, SYN,ACK, the client's data, the server's data
  const char* keys[3];     ///< Send_SYN, Receive_other, Send_other: as the client calls them
};

// The TCP headers of the packets; the MAC is what their last 12 bytes say.
const Vectors kVectors[] = {
    {"4.1", false, false, 0xfbfbab5a, 0x11c14261,
     {"e9d700b3fbfbab5a00000000e002ffffcac40000 020405b401030308 0402080a00155ab700000000 1d103d542ee437c6f8ede6d7c4d602e7",
      "00b3e9d711c14261fbfbab5be012ffff37760000 020405b401030308 0402080a84a50beb00155ab7 1d10543deeab0fe24c3010815116b3be",
      "e9d700b3fbfbab5b11c14262c0180104a1620000 0101080a00155ac184a50beb 1d103d547064cf998cc6c315c2c2e2bf",
      "00b3e9d711c14262fbfbab9ec0180100400c0000 0101080a84a50bf500155ac1 1d10543da63f0ecbbb2e635c954deac7"},
     {"6d63ef1b02fe1509d4b1402707fd7b0416abb74f",
      "d9e217e4834a80ca2f3fd8de2e41b8e6797fea96",
      "d2e59c65ffc7b1a39347656463b70edc24a13d71"}},
    {"4.2", false, true, 0xcb0efbee, 0xacd5b5e1,
     {"ff1200b3cb0efbee00000000e002ffff541f0000 020405b401030308 0402080a00024cce00000000 1d103d5480af3cfeb85368937b8f9ec2",
      "00b3ff12acd5b5e1cb0efbefe012ffff388e0000 020405b401030308 0402080a576772f300024cce 1d10543d09306f9acea63a8c68cb9a70",
      "ff1200b3cb0efbefacd5b5e2c01801046c450000 0101080a00024cce576772f3 1d103d54710608cc696c03a271c93aa5",
      "00b3ff12acd5b5e2cb0efc32c018010046b60000 0101080a576772f300024cce 1d10543d97766e48ac262de9ae61b4f9"},
     {"30eaa1560cf0be57dab5c045229fb10a423cd7ea",
      "b5b2896bb3664e8176b0edc6e799524101a8307f",
      "f3db1793d7910ecd806c34f155ea1f00345953e3"}},
    {"5.1", true, false, 0x787a1ddf, 0xfadd6de9,
     {"c4fa00b3787a1ddf00000000e002ffff5a0f0000 020405b401030308 0402080a00017ed000000000 1d103d54e477e99c8040765498e55091",
      "00b3c4fafadd6de9787a1de0e012fffff3f20000 020405b401030308 0402080a93f4e9e800017ed0 1d10543dd6ada7bc4cdd536d1769db5f",
      "c4fa00b3787a1de0fadd6deac018010495050000 0101080a00017ed093f4e9e8 1d103d5477412742fa4dc433eff0973e",
      "00b3c4fafadd6dea787a1e23c0180100e7db0000 0101080a93f4e9e800017ed0 1d10543df6d965a78382a74845f72dac"},
     {"f5b8b3d5f34fdbb6eb8d4ab9660e60e3",
      "4bc7571a486f3264bbd888474066b4b1",
      "8c8ae0e8371ec5cbb97ea79d90418391"}},
    {"5.2", true, true, 0x389bed71, 0xd3844a6f,
     {"da1c00b3389bed7100000000e002ffff70bf0000 020405b401030308 0402080a000185e100000000 1d103d54c44e60cb31f7c0b1de3d2749",
      "00b3da1cd3844a6f389bed72e012ffffe4450000 020405b401030308 0402080ace459838000185e1 1d10543d3a6abb207e49b1be7136db90",
      "da1c00b3389bed72d3844a70c018010488510000 0101080a000185e1ce459838 1d103d547585e9e9d5c3ec857b96f837",
      "00b3da1cd3844a70389bed72c018010004490000 0101080ace459838000185e1 1d10543d5c040fd9233304765c0982f4"},
     {"2cdbae1392c49449fa92c4509735d50e",
      "3ce67a551869506b6347b633c50a624a",
      "035bc400a341ffe595f59f58005006ca"}},
    {"6.1", false, false, 0x176a833f, 0x3f51994b,
     {"f7e400b3176a833f00000000e002ffff47210000 020405a001030308 0402080a0041d08700000000 1d103d549033ec3d7334b64c5edd039f",
      "00b3f7e43f51994b176a8340e012ffffbfec0000 020405a001030308 0402080abd33129b0041d087 1d10543df1cba346c3526163f71f1f55",
      "f7e400b3176a83403f51994cc0180100329c0000 0101080a0041d091bd33129b 1d103d54bf0805feb4ac7b163d6fcdf2",
      "00b3f7e43f51994c176a8383c0180100ee6e0000 0101080abd3312a50041d091 1d10543d6c48125c11335bab9a07a797"},
     {"625ec09d575836edc9b6428418bbf06989a361bb",
      "e4a37ada2a0afca8711434913fe138c771ebcb4a",
      "1ed82975f4ea444c61580c5bd90dbd61bbc91b7e"}},
    {"6.2", false, true, 0x020c1e69, 0xeba3734d,
     {"c6cd00b3020c1e6900000000e002ffffa41a0000 020405a001030308 0402080a009db95b00000000 1d103d54885698b0530ed4d5a15f8346",
      "00b3c6cdeba3734d020c1e6ae012ffff774d0000 020405a001030308 0402080a5ec99b70009db95b 1d10543d3c546bad9743f12df8b8010d",
      "c6cd00b3020c1e6aeba3734ec018010083e60000 0101080a009db9655ec99b70 1d103d5448bd093b1924e001192f5bf0",
      "00b3c6cdeba3734e020c1eadc0180100716a0000 0101080a5ec99b7a009db965 1d10543d559a819445b4fde98d9e1317"},
     {"31a3faf69effae52931b7f845467315c270a4edc",
      "405108947f996575e7bdbc26d40216a2c7fa91bd",
      "b34eed6a9396a669f1c4f4f57618f3656f52c7ab"}},
    {"7.1", true, false, 0x193cccec, 0xa6744ecb,
     {"f85a00b3193cccec00000000e002ffffde5d0000 020405a001030308 0402080a13e4ab9900000000 1d103d5459b588107481ac6dc3927040",
      "00b3f85aa6744ecb193cccede012ffffeabb0000 020405a001030308 0402080a71daabc813e4ab99 1d10543ddc2843a84e78a6bcfdc5ed80",
      "f85a00b3193ccceda6744eccc018010032800000 0101080a13e4aba371daabc8 1d103d547b6a455c0d4f5f01835baab3",
      "00b3f85aa6744ecc193ccd30c018010052f40000 0101080a71daabd313e4aba3 1d10543dc1069b7dfd3d693a6df3f289"},
     {"fa5a2108882d39d0c71929175ab1b7b8",
      "cf1b1e225e06a63616764a067b46f4b1",
      "6174c3557abed27574dba37185f00300"}},
    {"7.2", true, true, 0xb01da74a, 0xa6246145,
     {"f28800b3b01da74a00000000e002ffff75ff0000 020405a001030308 0402080a14275b3b00000000 1d103d543d45b4342de8bb1530847898",
      "00b3f288a6246145b01da74be012ffffa70c0000 020405a001030308 0402080a1782245b14275b3b 1d10543d1d01f6c87c6f93acffa9d4b5",
      "f28800b3b01da74ba6246146c0180100c36d0000 0101080a14275b4f1782245b 1d103d54290cf414ccb47a333276e7f8",
      "00b3f288a6246146b01da78ec018010034510000 0101080a1782246514275b4f 1d10543d99515ffcd5403499f619fd1b"},
     {"a94f511263e4093d35dd818c13bbbf53",
      "92dea5bbc78b1d9f5b2952e9cd30642a",
      "4fb2086e402c679079ed65d4bf97693d"}},
};

/// What both sides send in all of them: BGP's OPEN.
std::vector<std::byte> open_message(bool v6, bool server) {
  const std::string system = v6 ? "fde8" : server ? "dac0" : "dabf";
  const std::string name = v6 ? (server ? "0101017a" : "01010179") : server ? "ac1b1c1d" : "0a0b0c0d";
  return from_hex("ffffffffffffffffffffffffffffffff 00430104" + system + "00b4" + name +
                  "2602060104000100010202800002020200020242000206410400 00" + system + "02084006006400010100");
}

TEST(TcpAuth, AllVectorsOfRfc9235) {
  for (const Vectors& v : kVectors) {
    const bool v6 = v.section[0] >= '6';
    const wire::IpAddress client = v6 ? wire::IpAddress{*wire::Ipv6Address::parse("fd00::1")} : wire::IpAddress{wire::Ipv4Address{10, 11, 12, 13}};
    const wire::IpAddress server = v6 ? wire::IpAddress{*wire::Ipv6Address::parse("fd00::2")} : wire::IpAddress{wire::Ipv4Address{172, 27, 28, 29}};
    Key key{.algorithm = v.cmac ? MacAlgorithm::aes128_cmac : MacAlgorithm::hmac_sha1, .without_options = v.without_options};
    for (const char letter : std::string("testvector")) key.secret.push_back(static_cast<std::byte>(letter));
    for (int i = 0; i < 4; ++i) {
      SCOPED_TRACE(std::string("section ") + v.section + "." + std::to_string(i + 1));
      const bool from_server = i % 2 == 1;
      std::vector<std::byte> header = from_hex(v.headers[i]);
      const std::vector<std::byte> mac(header.end() - 12, header.end());
      const std::vector<std::byte> payload = i < 2 ? std::vector<std::byte>{} : open_message(v6, from_server);
      const wire::SeqNum client_isn{v.client_isn}, server_isn{i == 0 ? 0 : v.server_isn};
      const auto traffic = traffic_key(key, {from_server ? server : client, from_server ? client : server, wire::Port{load_be16(header, 0)},
                                             wire::Port{load_be16(header, 2)}, from_server ? server_isn : client_isn,
                                             from_server ? client_isn : server_isn});
      ASSERT_TRUE(traffic);
      const auto expected = from_hex(v.keys[i == 0 ? 0 : from_server ? 1 : 2]);
      EXPECT_TRUE(same_mac(Bytes{*traffic}.first(expected.size()), expected));
      const SignedSegment segment{from_server ? server : client, from_server ? client : server, header, payload};
      const auto made = ao_mac(key, *traffic, 0, segment);
      ASSERT_TRUE(made);
      EXPECT_TRUE(same_mac(Bytes{*made}.first(12), mac));
      // Another byte anywhere, or another extension, is another MAC, but for what is left out.
      EXPECT_FALSE(same_mac(Bytes{*ao_mac(key, *traffic, 1, segment)}.first(12), mac));
      header[4] ^= std::byte{1};
      EXPECT_FALSE(same_mac(Bytes{*ao_mac(key, *traffic, 0, segment)}.first(12), mac));
      header[4] ^= std::byte{1};
      header[i < 2 ? 23 : 31] ^= std::byte{1};  // of the MSS, or of a timestamp
      EXPECT_EQ(same_mac(Bytes{*ao_mac(key, *traffic, 0, segment)}.first(12), mac), v.without_options);
    }
  }
}

Key key_of(const char* peer, std::uint8_t prefix, int send = -1, int receive = -1) {
  Key key{.peer = wire::IpAddress{*wire::Ipv4Address::parse_strict(peer)}, .prefix_len = prefix};
  if (send >= 0) key.algorithm = MacAlgorithm::hmac_sha1, key.send_id = static_cast<std::uint8_t>(send), key.receive_id = static_cast<std::uint8_t>(receive);
  return key;
}

std::vector<KeyPtr> shared(const std::vector<Key>& keys) {
  std::vector<KeyPtr> out;
  for (const Key& key : keys) out.push_back(std::make_shared<const Key>(key));
  return out;
}

TEST(TcpAuth, AChainIsNarrowedToAPeersKeys) {
  const auto chain = std::make_shared<KeyChain>();
  chain->set(shared({key_of("10.1.2.3", 32, 5, 6), key_of("11.0.0.0", 8), key_of("10.0.0.0", 8, 1, 2)}));
  const auto of = [&](const char* remote) { return KeyChain::narrowed(chain, wire::IpAddress{*wire::Ipv4Address::parse_strict(remote)}); };
  const auto narrow = of("10.1.2.3");
  ASSERT_EQ(narrow->keys().size(), 2u);
  EXPECT_EQ(narrow->keys()[0], chain->keys()[0]) << "the key itself, in the order of before";
  EXPECT_EQ(narrow->keys()[1], chain->keys()[2]);
  EXPECT_EQ(of("11.1.1.1")->md5_for(wire::Ipv4Address{11, 1, 1, 1}), chain->keys()[1].get());
  EXPECT_EQ(of("12.1.1.1"), nullptr);
  EXPECT_EQ(KeyChain::narrowed(nullptr, wire::Ipv4Address{10, 1, 2, 3}), nullptr);
  EXPECT_EQ(KeyChain::narrowed(narrow, wire::Ipv4Address{10, 1, 2, 3}), narrow) << "nothing to leave out";
}

TEST(TcpAuth, TheLongestPrefixOfAnMd5KeyWins) {
  KeyChain chain;
  chain.set(shared({key_of("10.0.0.0", 8), key_of("10.1.0.0", 16), key_of("10.1.2.3", 32), key_of("0.0.0.0", 0)}));
  const auto found = [&](const char* remote) { return chain.md5_for(wire::IpAddress{*wire::Ipv4Address::parse_strict(remote)}); };
  EXPECT_EQ(found("10.1.2.3"), chain.keys()[2].get());
  EXPECT_EQ(found("10.1.2.4"), chain.keys()[1].get());
  EXPECT_EQ(found("10.2.2.4"), chain.keys()[0].get());
  EXPECT_EQ(found("11.2.2.4"), chain.keys()[3].get());
  EXPECT_EQ(chain.md5_for(wire::IpAddress{*wire::Ipv6Address::parse("::1")}), nullptr) << "of another family";
}

TEST(TcpAuth, AoKeysAreFoundByTheIdentifierOfEachDirection) {
  KeyChain chain;
  chain.set(shared({key_of("10.0.0.0", 8, 1, 2), key_of("10.0.0.0", 8, 3, 4), key_of("11.0.0.0", 8, 5, 6)}));
  const wire::IpAddress remote{wire::Ipv4Address{10, 9, 9, 9}};
  EXPECT_EQ(chain.ao_to_send(remote, 3), chain.keys()[1].get());
  EXPECT_EQ(chain.ao_to_send(remote, -1), chain.keys()[0].get());
  EXPECT_EQ(chain.ao_received(remote, 4), chain.keys()[1].get());
  EXPECT_EQ(chain.ao_received(remote, 3), nullptr);
  EXPECT_EQ(chain.ao_received(remote, 6), nullptr) << "of another peer";
  EXPECT_EQ(chain.md5_for(remote), nullptr);
}

TEST(TcpAuth, KeysAreFoundAsIfAllWereLookedAt) {
  Random random{9};
  for (int round = 0; round < 50; ++round) {
    std::vector<Key> keys;
    for (std::uint64_t i = random.below(200); i > 0; --i) {
      Key key{.peer = wire::Ipv4Address{static_cast<std::uint32_t>(random.below(64)) << 26 | 3},
              .prefix_len = static_cast<std::uint8_t>(random.below(8) * 4)};
      if (random.chance(0.2)) key.peer = *wire::Ipv6Address::parse("2001:db8::1");
      if (random.chance(0.7)) key.algorithm = MacAlgorithm::hmac_sha1;
      key.send_id = static_cast<std::uint8_t>(random.below(8)), key.receive_id = static_cast<std::uint8_t>(random.below(8));
      keys.push_back(key);
    }
    KeyChain chain;
    chain.set(shared(keys));
    for (std::uint32_t net = 0; net < 64; ++net) {
      const wire::IpAddress remote{wire::Ipv4Address{net << 26 | 99}};
      const auto first = [&](auto wanted) -> const Key* {
        for (const KeyPtr& key : chain.keys())
          if (!key->is_md5() && key->fits(remote) && wanted(*key)) return key.get();
        return nullptr;
      };
      const Key* md5 = nullptr;
      for (const KeyPtr& key : chain.keys())
        if (key->is_md5() && key->fits(remote) && (md5 == nullptr || key->prefix_len > md5->prefix_len)) md5 = key.get();
      const Key* found = chain.md5_for(remote);
      ASSERT_EQ(found == nullptr, md5 == nullptr);
      if (found != nullptr) {
        ASSERT_TRUE(found->is_md5() && found->fits(remote) && found->prefix_len == md5->prefix_len);
      }
      ASSERT_EQ(chain.ao_to_send(remote, -1), first([](const Key&) { return true; }));
      ASSERT_EQ(chain.longest_option(remote), md5 != nullptr ? 20u : first([](const Key&) { return true; }) != nullptr ? 16u : 0u);
      const int id = static_cast<int>(random.below(8));
      ASSERT_EQ(chain.ao_to_send(remote, id), first([&](const Key& key) { return key.send_id == id; }));
      ASSERT_EQ(chain.ao_received(remote, id), first([&](const Key& key) { return key.receive_id == id; }));
    }
  }
}

TEST(TcpAuth, SecretsAreZeroInMemoryThatIsFreeAgain) {
  alignas(16) static std::byte heap[32];
  std::fill(std::begin(heap), std::end(heap), std::byte{7});
  erase(heap, 31);
  EXPECT_EQ(std::count(std::begin(heap), std::end(heap), std::byte{0}), 31);
  EXPECT_EQ(heap[31], std::byte{7});
  TrafficKey key;
  key[19] = std::byte{1};
  TrafficKey* at = new (heap) TrafficKey(key);
  EXPECT_EQ(heap[19], std::byte{1});
  at->~TrafficKey();
  EXPECT_EQ(heap[19], std::byte{0});
}

TEST(TcpAuth, PrefixesOfBothFamiliesEndAnywhere) {
  const wire::IpAddress peer{*wire::Ipv6Address::parse("2001:db8:8000::")}, inside{*wire::Ipv6Address::parse("2001:db8:ffff::1")},
      outside{*wire::Ipv6Address::parse("2001:db8:7fff::1")};
  for (const auto& [bits, in, out] : std::initializer_list<std::tuple<int, bool, bool>>{
           {0, true, true}, {32, true, true}, {33, true, false}, {34, false, false}, {128, false, false}}) {
    const Key key{.peer = peer, .prefix_len = static_cast<std::uint8_t>(bits)};
    EXPECT_EQ(key.fits(inside), in) << bits;
    EXPECT_EQ(key.fits(outside), out) << bits;
    EXPECT_TRUE(key.fits(peer));
  }
  EXPECT_TRUE(key_of("10.128.0.0", 9).fits(wire::IpAddress{wire::Ipv4Address{10, 255, 1, 1}}));
  EXPECT_FALSE(key_of("10.128.0.0", 9).fits(wire::IpAddress{wire::Ipv4Address{10, 127, 1, 1}}));
  EXPECT_TRUE(key_of("10.128.0.0", 0).fits(wire::IpAddress{wire::Ipv4Address{1, 2, 3, 4}}));
  EXPECT_FALSE(key_of("10.128.0.0", 0).fits(peer));
}

TEST(TcpAuth, Md5CoversAllButOptionsAndChecksum) {
  Key key = key_of("10.0.0.2", 32);
  for (const char letter : std::string("secret")) key.secret.push_back(static_cast<std::byte>(letter));
  const wire::IpAddress from{wire::Ipv4Address{10, 0, 0, 1}}, to{wire::Ipv4Address{10, 0, 0, 2}};
  std::vector<std::byte> header = from_hex("0001 0002 00000003 00000004 70 10 0005 0000 0000 01010101 01010101");
  std::vector<std::byte> payload = from_hex("68656c6c6f");
  const auto digest = [&] { return *md5_digest(key, {from, to, header, payload}); };
  const Mac first = digest();
  header[16] = std::byte{9}, header[24] = std::byte{0};
  EXPECT_EQ(digest(), first);
  header[4] = std::byte{9};
  EXPECT_NE(digest(), first);
  header[4] = std::byte{0}, payload[0] = std::byte{0};
  EXPECT_NE(digest(), first);
  payload[0] = std::byte{0x68}, key.secret[0] = std::byte{0};
  EXPECT_NE(digest(), first);
}

}  // namespace
}  // namespace iopkt::tcp
