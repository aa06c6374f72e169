// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cluster/choose_sponsors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>

namespace heca::cluster {
namespace {

constexpr std::uint64_t kGiB = 1ULL << 30;

Member Peer(const std::string& name, std::uint64_t free, const std::string& domain = "") {
  Member member;
  member.config = {name, name + ":7301", domain};
  member.health = Health::kAlive;
  member.info.node = name;
  member.info.page_sizes = {kBasePage};
  member.info.donated = Bytes(100 * kGiB);
  member.info.free = Bytes(free);
  return member;
}

SponsorWish Wish(std::uint64_t needed, std::uint32_t count = 1, const std::string& own_domain = "") {
  return {Bytes(needed), kBasePage, count, own_domain};
}

TEST(ChooseSponsors, OnlyThoseThatCanServe) {
  std::vector<Member> peers{Peer("small", kGiB / 2), Peer("gone", 9 * kGiB), Peer("other", 9 * kGiB),
                            Peer("good", 2 * kGiB), Peer("new", 9 * kGiB)};
  peers[1].health = Health::kUnreachable;
  peers[2].info.page_sizes = {kHugePage};
  peers[4].health = Health::kUnknown;
  std::mt19937_64 random(1);
  for (int i = 0; i < 50; ++i) {
    const auto chosen = ChooseSponsors(peers, Wish(kGiB), random);
    ASSERT_TRUE(chosen.ok());
    ASSERT_EQ(chosen->size(), 1U);
    EXPECT_EQ(chosen->front().config.name, "good");
  }
  const Status none = ChooseSponsors(peers, Wish(3 * kGiB), random).status();
  EXPECT_EQ(none.code(), ErrorCode::kResourceExhausted);
  for (const char* word : {"3072 MiB", "small has 512 MiB free", "gone unreachable", "other lends no pages of 4096",
                           "good has 2048 MiB free", "new unknown"}) {
    EXPECT_NE(none.message().find(word), std::string::npos) << word << " in " << none.message();
  }
  EXPECT_NE(ChooseSponsors({}, Wish(1), random).status().message().find("no peers are configured"), std::string::npos);
}

TEST(ChooseSponsors, TheSameSeedChoosesTheSame) {
  std::vector<Member> peers;
  for (int i = 0; i < 10; ++i) peers.push_back(Peer("m" + std::to_string(i), kGiB + static_cast<std::uint64_t>(i)));
  const auto run = [&](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::string names;
    for (int i = 0; i < 20; ++i) names += ChooseSponsors(peers, Wish(1), random)->front().config.name + " ";
    return names;
  };
  EXPECT_EQ(run(5), run(5));
  EXPECT_NE(run(5), run(6));
}

TEST(ChooseSponsors, ReplicasAreInDifferentDomains) {
  const std::vector<Member> peers{Peer("a1", 9 * kGiB, "rack-a"), Peer("a2", 8 * kGiB, "rack-a"),
                                  Peer("b1", 2 * kGiB, "rack-b"), Peer("lone", 2 * kGiB)};
  std::mt19937_64 random(3);
  for (int i = 0; i < 100; ++i) {
    const auto chosen = ChooseSponsors(peers, Wish(kGiB, 3), random);
    ASSERT_TRUE(chosen.ok());
    std::set<std::string> names;
    for (const Member& member : *chosen) names.insert(member.config.name);
    EXPECT_EQ(names.size(), 3U);
    EXPECT_EQ(names.count("a1") + names.count("a2"), 1U);
  }
  const Status four = ChooseSponsors(peers, Wish(kGiB, 4), random).status();
  EXPECT_EQ(four.code(), ErrorCode::kResourceExhausted);
  EXPECT_NE(four.message().find("in different failure domains"), std::string::npos) << four.message();
}

TEST(ChooseSponsors, TheOwnDomainIsTheLastResort) {
  const std::vector<Member> peers{Peer("near", 9 * kGiB, "rack-a"), Peer("far", kGiB, "rack-b")};
  std::mt19937_64 random(3);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(ChooseSponsors(peers, Wish(kGiB, 1, "rack-a"), random)->front().config.name, "far");
  }
  EXPECT_EQ(ChooseSponsors(peers, Wish(kGiB, 2, "rack-a"), random)->size(), 2U);
  EXPECT_EQ(ChooseSponsors(peers, Wish(2 * kGiB, 1, "rack-a"), random)->front().config.name, "near");
}

TEST(ChooseSponsors, TwoChoicesBalanceBetterThanOne) {
  // 20 equal peers, 2000 regions of 1 GiB placed one after the other on up-to-date news. Chance alone leaves the
  // fullest about 25 GiB above the mean of 100; two choices stay within a few.
  const auto fullest_above_mean = [](bool two_choices) {
    std::vector<Member> peers;
    for (int i = 0; i < 20; ++i) peers.push_back(Peer("m" + std::to_string(i), 1000 * kGiB));
    std::mt19937_64 random(11);
    for (int i = 0; i < 2000; ++i) {
      const std::string name = two_choices ? ChooseSponsors(peers, Wish(kGiB), random)->front().config.name
                                           : peers[random() % peers.size()].config.name;
      for (Member& peer : peers) {
        if (peer.config.name == name) peer.info.free = Bytes(peer.info.free.value() - kGiB);
      }
    }
    const auto least = std::min_element(peers.begin(), peers.end(),
                                        [](const Member& a, const Member& b) { return a.info.free < b.info.free; });
    return 900 - least->info.free.value() / kGiB;
  };
  EXPECT_LE(fullest_above_mean(true), 4U);
  EXPECT_GE(fullest_above_mean(false), 10U);
}

TEST(ChooseSponsors, StaleNewsDoNotSendEverybodyToTheEmptiest) {
  std::vector<Member> peers;
  for (std::uint64_t i = 0; i < 10; ++i) peers.push_back(Peer("m" + std::to_string(i), (10 + i) * kGiB));
  std::mt19937_64 random(2);
  std::map<std::string, int> hits;
  for (int i = 0; i < 10'000; ++i) ++hits[ChooseSponsors(peers, Wish(kGiB), random)->front().config.name];
  // The k-th emptiest of n is the better of two with probability 2(n-k)/(n(n-1)): 0.2 for the emptiest, 0 for the last.
  EXPECT_NEAR(hits["m9"], 2000, 200);
  EXPECT_NEAR(hits["m5"], 1111, 150);
  EXPECT_EQ(hits["m0"], 0);
}

}  // namespace
}  // namespace heca::cluster
