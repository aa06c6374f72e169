// SPDX-License-Identifier: LGPL-2.1-or-later
// A node's choice of transport and a region's own: what is left of both, and which sponsors are asked.
#include "node/sponsors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "control/peer_server.h"
#include "support/fake_sponsor.h"
#include "transport/rdma/devices.h"

namespace heca::node {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto kAuto = TransportChoice::kAuto;
constexpr auto kTcp = TransportChoice::kTcp;
constexpr auto kRdma = TransportChoice::kRdma;

std::unique_ptr<Sponsors> Of(TransportChoice node) {
  NodeConfig config;
  config.transport = node;
  auto made = Sponsors::Create(config, {});
  EXPECT_TRUE(made.ok()) << made.status().ToString();
  return std::move(made).value();
}

std::vector<std::string> Ways(TransportChoice node, TransportChoice own) {
  std::vector<std::string> names;
  for (const auto& dialer : Of(node)->dialers(own)) names.push_back(dialer.transport);
  return names;
}

TEST(Sponsors, ARegionsChoiceNarrowsTheNodes) {
  EXPECT_THAT(Ways(kAuto, kAuto), ElementsAre("rdma", "tcp"));
  EXPECT_THAT(Ways(kAuto, kTcp), ElementsAre("tcp"));
  EXPECT_THAT(Ways(kAuto, kRdma), ElementsAre("rdma"));
  EXPECT_THAT(Ways(kTcp, kAuto), ElementsAre("tcp"));
  EXPECT_THAT(Ways(kRdma, kAuto), ElementsAre("rdma"));
  EXPECT_THAT(Ways(kTcp, kTcp), ElementsAre("tcp"));
  EXPECT_THAT(Ways(kTcp, kRdma), IsEmpty());
  EXPECT_THAT(Ways(kRdma, kTcp), IsEmpty());
}

TEST(Sponsors, ChoicesThatExcludeEachOtherAreRefusedWithARemedy) {
  for (const auto& [node, own] : {std::pair(kTcp, kRdma), std::pair(kRdma, kTcp)}) {
    const Status refused = Of(node)->Check(own);
    EXPECT_EQ(refused.code(), ErrorCode::kFailedPrecondition);
    EXPECT_THAT(std::string(refused.message()),
                HasSubstr("transport " + std::string(ToString(own)) + " was asked for, and this hecad's is " +
                          std::string(ToString(node)) + ": leave it out, or set transport = \"auto\""));
  }
  for (const auto& [node, own] : {std::pair(kAuto, kAuto), std::pair(kAuto, kTcp), std::pair(kTcp, kAuto)}) {
    EXPECT_TRUE(Of(node)->Check(own).ok());
  }
}

TEST(Sponsors, RdmaThatIsForcedNeedsADevice) {
  const auto devices = transport::RdmaDevices();
  ASSERT_TRUE(devices.ok()) << devices.status().ToString();
  const Status checked = Of(kAuto)->Check(kRdma);
  EXPECT_EQ(checked.ok(), !devices->empty());
  EXPECT_EQ(Of(kRdma)->Check(kAuto).ok(), checked.ok());
  if (devices->empty()) {
    EXPECT_THAT(std::string(checked.message()), HasSubstr("this host has no RDMA device"));
  }
}

TEST(Sponsors, ASponsorThatDoesNotOfferWhatIsForcedIsNotAskedForMemory) {
  heca::testing::FakeSponsor lender;
  const auto server = control::PeerServer::Start({.host = "127.0.0.1", .port = 0}, lender);
  ASSERT_TRUE(server.ok()) << server.status().ToString();
  const std::vector<std::string> wanted{"127.0.0.1:" + std::to_string((*server)->port())};
  control::ReserveRequest request;
  request.region = "vm";
  request.owner_node = "c1";
  request.owner_boot_id = "boot-1";
  request.page_size = kBasePage;
  request.slots = 8;
  const auto sponsors = Of(kAuto);
  const auto refused = sponsors->Borrow(wanted, request, kRdma);
  EXPECT_EQ(refused.status().code(), ErrorCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("lends over tcp and not over rdma"));
  EXPECT_FALSE(lender.last_reserve().has_value());
  EXPECT_TRUE(sponsors->Borrow(wanted, request, kTcp).ok());
  EXPECT_TRUE(sponsors->Borrow(wanted, request, kAuto).ok());
  lender.ChangeInfo([](control::SponsorInfo& info) { info.endpoints.push_back({"rdma", "127.0.0.1:7301"}); });
  EXPECT_TRUE(sponsors->Borrow(wanted, request, kRdma).ok());
}

}  // namespace
}  // namespace heca::node
