// SPDX-License-Identifier: LGPL-2.1-or-later
// What every transport promises of a connection's beginning and end; instantiated by channel_conformance_test.cc.
#include "channel_conformance.h"

namespace heca::transport {
namespace {

/// A dead peer is noticed within about three seconds; the rest is for a loaded machine.
constexpr Millis kNoticed{4500};

TEST_P(ChannelConformance, TokenIsGoodOnce) {
  const Hello hello = Expect(Role::kBulk);
  ASSERT_TRUE(TryDial(hello).ok());
  EXPECT_EQ(TryDial(hello).status().code(), ErrorCode::kPermissionDenied);
  Hello forged = Expect(Role::kBulk);
  forged.token[0] = ~forged.token[0];
  EXPECT_EQ(TryDial(forged).status().code(), ErrorCode::kPermissionDenied);
}

TEST_P(ChannelConformance, HelloMustMatchItsToken) {
  Hello lease = Expect(Role::kBulk);
  lease.lease = LeaseId(8);
  EXPECT_EQ(TryDial(lease).status().code(), ErrorCode::kPermissionDenied);
  Hello epoch = Expect(Role::kBulk);
  epoch.epoch = Epoch(4);
  EXPECT_EQ(TryDial(epoch).status().code(), ErrorCode::kPermissionDenied);
  Hello role = Expect(Role::kBulk);
  role.role = Role::kUrgent;
  EXPECT_EQ(TryDial(role).status().code(), ErrorCode::kPermissionDenied);
}

TEST_P(ChannelConformance, LaterEpochCutsOffAtTheNextMessage) {
  const auto bulk = Dial(Role::kBulk);
  ASSERT_TRUE(WriteNow(*bulk, Slots(1, 1)).ok());
  memory_->SetOwner(Epoch(4));
  // Nobody is asked, so it is the server's own look that ends it; whoever changes the owner waits for that.
  if (GetParam().alone) WaitForServedConnections(0);
  const auto page = Pattern(Slots(2, 1), kBasePage);
  ASSERT_TRUE(bulk->Write(OpTag(1), Slots(2, 1), page, Attempt::kFirst).ok());
  ExpectCutOff(*bulk);
  EXPECT_FALSE(memory_->IsWritten(Slot(2)));
}

TEST_P(ChannelConformance, WriterThatGoesAwayLeavesItsSlotUnwritten) {
  if (GetParam().alone) GTEST_SKIP() << "nothing holds up a client that writes by itself";
  UseMemory(kHugePage, 2, 2);
  auto bulk = Dial(Role::kBulk);
  ASSERT_TRUE(WriteNow(*bulk, Slots(1, 1)).ok());
  // The server waits at the read, so no socket takes all of the 2 MiB behind it.
  const auto page = Pattern(Slots(2, 1), kHugePage);
  harness_->HoldAnswers(*memory_);
  ASSERT_TRUE(bulk->Read(OpTag(1), Slots(1, 1)).ok());
  ASSERT_TRUE(bulk->Write(OpTag(2), Slots(2, 1), page, Attempt::kFirst).ok());
  bulk.reset();
  harness_->LetAnswersGo(*memory_);
  WaitForServedConnections(0);
  EXPECT_FALSE(memory_->IsWritten(Slot(2)));
  const auto again = Dial(Role::kBulk);
  ASSERT_TRUE(WriteNow(*again, Slots(2, 1), Attempt::kRepeated).ok());
  ExpectHolds(*again, Slots(2, 1));
}

TEST_P(ChannelConformance, ServerThatGoesAwayIsAnError) {
  const Transport transport = GetParam();
  auto other = transport.make();
  ASSERT_TRUE(other.ok());
  const Endpoint endpoint = (*other)->server().endpoint();
  const Hello hello = (*other)->admission().Expect(kLease, kEpoch, Role::kBulk, memory_);
  auto channel = (*other)->dialer().Dial(endpoint, hello, Deadline::After(Millis(5000)));
  ASSERT_TRUE(channel.ok()) << channel.status().ToString();
  other->reset();
  ExpectCutOff(**channel);
}

TEST_P(ChannelConformance, NobodyAnswersOnAnEndpointWithoutServer) {
  Endpoint nowhere = harness_->server().endpoint();
  nowhere.port = 2;
  const auto dialled = harness_->dialer().Dial(nowhere, Expect(Role::kBulk), Deadline::After(Millis(2000)));
  EXPECT_EQ(dialled.status().code(), ErrorCode::kUnavailable) << dialled.status().ToString();
}

TEST_P(ChannelConformance, CutLinkIsNoticedWhateverTheChannelWaitsFor) {
  const auto nothing = Dial(Role::kUrgent);
  const auto acknowledgement = Dial(Role::kBulk);
  const auto answer = Dial(Role::kUrgent);
  ASSERT_TRUE(WriteNow(*acknowledgement, Slots(1, 1)).ok());
  harness_->HoldAnswers(*memory_);
  ASSERT_TRUE(answer->Read(OpTag(1), Slots(1, 1)).ok());
  ASSERT_TRUE(harness_->CutLink().ok());
  static_cast<void>(acknowledgement->Read(OpTag(1), Slots(1, 1)));  // the loopback's already knows
  const Deadline noticed = Deadline::After(kNoticed);
  ExpectCutOff(*nothing, Millis(noticed.LeftMs()));
  ExpectCutOff(*acknowledgement, Millis(noticed.LeftMs()));
  ExpectCutOff(*answer, Millis(noticed.LeftMs()));
  harness_->LetAnswersGo(*memory_);
}

}  // namespace
}  // namespace heca::transport
