// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/sponsor.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "sponsor_rig.h"
#include "store/random.h"
#include "support/page_store_driver.h"

namespace heca::store {
namespace {

using control::Lease;
using control::LeaseState;
using test::Want;

constexpr std::uint32_t kSlotsPerSlab = 256;  // of 4 KiB in 1 MiB

class SponsorTest : public ::testing::Test, public LeaseObserver {
 protected:
  void SetUp() override { Start(); }
  void Start(Bytes donated = Bytes(16U << 20)) {
    auto options = test::SmallSponsor(directory_.path());
    options.donated = donated;
    options.now = [this] { return clock_.Now(); };
    options.fence_wait = Millis(20);
    auto sponsor = Sponsor::Create(std::move(options), this);
    ASSERT_TRUE(sponsor.ok()) << sponsor.status().ToString();
    sponsor_ = std::move(sponsor).value();
  }
  void OnLease(LeaseEvent event, const control::LeaseInfo&, std::string_view) override {
    const std::lock_guard lock(events_mutex_);
    events_.push_back(event);
  }

  Lease MustReserve(std::uint32_t slots, std::string node = "c1", std::string boot = "boot-1") {
    auto lease = sponsor_->Reserve(Want(slots, std::move(node), std::move(boot)));
    EXPECT_TRUE(lease.ok()) << lease.status().ToString();
    return lease.ok() ? *lease : Lease();
  }
  Result<std::shared_ptr<transport::SlotMemory>> Connect(const Lease& lease, Role role = Role::kBulk,
                                                         std::uint32_t stream = 1) {
    HECA_ASSIGN_OR_RETURN(const auto grant, sponsor_->OpenData(lease.key, role, stream, 1));
    return sponsor_->Admit({grant.tokens[0], lease.key.id, lease.key.epoch, role});
  }
  static Status Write(transport::SlotMemory& memory, Slot slot, std::uint64_t version) {
    HECA_ASSIGN_OR_RETURN(auto page, memory.BeginWrite(slot, transport::Attempt::kFirst));
    test::FillPage(page, slot, version);
    memory.CommitWrite(slot);
    return {};
  }
  static bool Holds(transport::SlotMemory& memory, Slot slot, std::uint64_t version) {
    const auto page = memory.ForRead(slot);
    return page.ok() && std::ranges::equal(*page, test::MakePages(kBasePage, {&slot, 1}, version));
  }
  control::SponsorInfo Info() { return sponsor_->Describe().value(); }
  LeaseState StateOf(LeaseId id) {
    for (const auto& info : sponsor_->Leases()) {
      if (info.id == id) return info.state;
    }
    return LeaseState::kInvalid;
  }

  test::ManualClock clock_;
  test::ShmDirectory directory_;
  std::unique_ptr<Sponsor> sponsor_;
  std::mutex events_mutex_;
  std::vector<LeaseEvent> events_;
};

/// Of the file system, by the files below `directory`.
std::uint64_t BytesTaken(const std::string& directory) {
  std::uint64_t blocks = 0;
  for (const auto& file : std::filesystem::recursive_directory_iterator(directory)) {
    struct stat info {};
    if (file.is_regular_file() && ::stat(file.path().c_str(), &info) == 0) blocks += static_cast<std::uint64_t>(info.st_blocks);
  }
  return blocks * 512;  // unit of stat(2)
}

TEST_F(SponsorTest, ReservesUpFrontAndCountsExactly) {
  EXPECT_EQ(Info().free, Bytes(16U << 20));
  const Lease lease = MustReserve(1);
  EXPECT_EQ(lease.slots, kSlotsPerSlab) << "rounded up to a slab";
  EXPECT_EQ(Info().lent, Bytes(1U << 20));
  const std::uint64_t before = BytesTaken(directory_.path());
  MustReserve(8 * kSlotsPerSlab);
  EXPECT_GE(BytesTaken(directory_.path()), before + (8U << 20)) << "the memory is really taken";
  const auto refused = sponsor_->Reserve(Want(8 * kSlotsPerSlab));
  ASSERT_EQ(refused.status().code(), ErrorCode::kResourceExhausted);
  EXPECT_NE(refused.status().message().find("8MiB"), std::string_view::npos) << refused.status().message();
  EXPECT_NE(refused.status().message().find("7MiB of 16MiB"), std::string_view::npos) << refused.status().message();
  EXPECT_EQ(Info().free, Bytes(7U << 20)) << "a refusal takes nothing";
  EXPECT_TRUE(sponsor_->Free(lease.key).ok());
  EXPECT_EQ(Info().free, Bytes(8U << 20));
  EXPECT_EQ(sponsor_->Reserve(Want(0)).status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(sponsor_->Reserve(Want(UINT32_MAX)).status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(sponsor_->Reserve(Want(1, "a node\nepoch 9")).status().code(), ErrorCode::kInvalidArgument);
}

TEST_F(SponsorTest, QuotaIsExactUnderConcurrency) {
  std::vector<std::thread> threads;
  std::atomic<int> overdrawn{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        std::vector<Lease> leases;
        for (std::uint32_t slabs = 1; slabs <= 3; ++slabs) {
          auto lease = sponsor_->Reserve(Want(slabs * kSlotsPerSlab, "c" + std::to_string(t)));
          if (!lease.ok()) continue;
          if (slabs == 2) {
            if (auto longer = sponsor_->Extend(lease->key, 1); longer.ok() && longer->slots != 3 * kSlotsPerSlab) {
              ++overdrawn;
            }
          }
          leases.push_back(*lease);
        }
        if (Info().lent > Bytes(16U << 20)) ++overdrawn;
        for (const auto& lease : leases) EXPECT_TRUE(sponsor_->Free(lease.key).ok());
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(overdrawn, 0);
  EXPECT_EQ(Info().free, Bytes(16U << 20));
  EXPECT_EQ(Info().scrubbing, Bytes(0));
}

TEST_F(SponsorTest, BytesOfAFreedLeaseAreNeverSeenAgain) {
  const Lease first = MustReserve(16 * kSlotsPerSlab);
  {
    auto memory = Connect(first);
    ASSERT_TRUE(memory.ok()) << memory.status().ToString();
    for (std::uint32_t slot = 1; slot <= first.slots; ++slot) ASSERT_TRUE(Write(**memory, Slot(slot), 1).ok());
  }
  ASSERT_TRUE(sponsor_->Free(first.key).ok());
  const Lease second = MustReserve(16 * kSlotsPerSlab);  // all of the quota: the same memory
  auto memory = Connect(second);
  ASSERT_TRUE(memory.ok());
  for (std::uint32_t slot = 1; slot <= second.slots; ++slot) {
    EXPECT_EQ((*memory)->ForRead(Slot(slot)).status().code(), ErrorCode::kDataLoss);
    const auto page = (*memory)->BeginWrite(Slot(slot), transport::Attempt::kFirst);
    ASSERT_TRUE(page.ok());
    ASSERT_TRUE(std::ranges::all_of(*page, [](std::byte b) { return b == std::byte{0}; })) << slot;
    (*memory)->CommitWrite(Slot(slot));  // nothing was written: what a peer that cheats would do
  }
}

TEST_F(SponsorTest, FreedMemoryThatIsStillSeenCountsAsScrubbing) {
  const Lease lease = MustReserve(1);
  auto memory = Connect(lease);
  ASSERT_TRUE(Write(**memory, Slot(1), 1).ok());
  const auto page = (*memory)->ForRead(Slot(1)).value();
  ASSERT_TRUE(sponsor_->Free(lease.key).ok());
  EXPECT_FALSE((*memory)->StillOwnedBy(lease.key.epoch));
  EXPECT_EQ((*memory)->ForRead(Slot(1)).status().code(), ErrorCode::kPermissionDenied);
  EXPECT_NE(page[0], std::byte{0}) << "what is being sent stays valid";
  EXPECT_EQ(Info().scrubbing, Bytes(1U << 20));
  EXPECT_EQ(Info().free, Bytes(15U << 20));
  memory.value().reset();
  EXPECT_EQ(Info().free, Bytes(16U << 20));
}

TEST_F(SponsorTest, ExpiryQuarantinesAndTheOwnerRevives) {
  const Lease lease = MustReserve(1);
  auto memory = Connect(lease);
  ASSERT_TRUE(Write(**memory, Slot(1), 1).ok());
  clock_.Advance(Millis(59'000));
  ASSERT_TRUE(sponsor_->Renew(lease.key, "boot-1").ok());
  clock_.Advance(Millis(59'000));
  EXPECT_EQ(StateOf(lease.key.id), LeaseState::kActive);
  clock_.Advance(Millis(2'000));
  EXPECT_EQ(StateOf(lease.key.id), LeaseState::kQuarantined);
  EXPECT_EQ(Info().quarantined, Bytes(1U << 20)) << "still counts";
  EXPECT_EQ(Info().free, Bytes(15U << 20));
  EXPECT_EQ(sponsor_->OpenData(lease.key, Role::kBulk, 2, 1).status().code(), ErrorCode::kFailedPrecondition);
  clock_.Advance(Millis(3'600'000));
  EXPECT_EQ(StateOf(lease.key.id), LeaseState::kQuarantined) << "never freed by time alone";
  ASSERT_TRUE(sponsor_->Renew(lease.key, "boot-1").ok());
  EXPECT_EQ(StateOf(lease.key.id), LeaseState::kActive);
  EXPECT_TRUE(sponsor_->OpenData(lease.key, Role::kBulk, 2, 1).ok());
  EXPECT_TRUE(Holds(**memory, Slot(1), 1));
  EXPECT_EQ(events_, (std::vector{LeaseEvent::kGranted, LeaseEvent::kQuarantined, LeaseEvent::kRevived}));
}

TEST_F(SponsorTest, LeaseThatNobodyOpenedIsFreedWhenItRunsOut) {
  MustReserve(1);
  clock_.Advance(Millis(61'000));
  EXPECT_EQ(Info().free, Bytes(16U << 20));
  EXPECT_TRUE(sponsor_->Leases().empty());
}

TEST_F(SponsorTest, AnotherBootOfTheOwnerFreesOnlyWhatIsQuarantined) {
  const Lease lease = MustReserve(1);
  ASSERT_TRUE(Connect(lease).ok());
  sponsor_->AnnounceBoot("c2", "boot-9");
  MustReserve(1, "c1", "boot-2");  // c1 again, or another host by the same name
  EXPECT_EQ(StateOf(lease.key.id), LeaseState::kActive);
  ASSERT_TRUE(sponsor_->Renew(lease.key, "boot-1").ok()) << "it lives: two hosts have one name";
  clock_.Advance(Millis(61'000));
  EXPECT_EQ(StateOf(lease.key.id), LeaseState::kQuarantined);
  sponsor_->AnnounceBoot("c1", "boot-1");
  EXPECT_EQ(StateOf(lease.key.id), LeaseState::kQuarantined);
  sponsor_->AnnounceBoot("c1", "boot-2");
  EXPECT_EQ(StateOf(lease.key.id), LeaseState::kInvalid);
  EXPECT_EQ(Info().free, Bytes(16U << 20));
}

TEST_F(SponsorTest, OperatorFreesByForceOrAfterQuarantine) {
  const Lease lease = MustReserve(1);
  ASSERT_TRUE(Connect(lease).ok());
  EXPECT_EQ(sponsor_->ForceFree(lease.key.id, false).code(), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(sponsor_->ForceFree(LeaseId(1), true).code(), ErrorCode::kNotFound);
  clock_.Advance(Millis(61'000));
  EXPECT_TRUE(sponsor_->ForceFree(lease.key.id, false).ok());
  EXPECT_EQ(sponsor_->Renew(lease.key, "boot-1").status().code(), ErrorCode::kNotFound);
  EXPECT_TRUE(sponsor_->ForceFree(MustReserve(1).key.id, true).ok());
  EXPECT_EQ(Info().free, Bytes(16U << 20));
}

TEST_F(SponsorTest, AnOwnerTakesItsLeaseBackFromWhateverEpochItHasComeTo) {
  const Lease lease = MustReserve(1);
  const control::TakeOverRequest there{lease.key, Epoch(2), RandomSecret(), "c2", "boot-2"};
  const Lease theirs = sponsor_->TakeOver(there).value();
  ASSERT_TRUE(sponsor_->TakeOver({theirs.key, Epoch(3), RandomSecret(), "c2", "boot-2"}).ok()) << "it was restarted";

  control::TakeOverRequest back{lease.key, Epoch(1 + control::kBackBy), RandomSecret(), "c1", "boot-1"};
  EXPECT_EQ(sponsor_->TakeOver(back).status().code(), ErrorCode::kPermissionDenied) << "it does not know the epoch";
  back.back = true;
  const auto taken = sponsor_->TakeOver(back);
  ASSERT_TRUE(taken.ok()) << taken.status().ToString();
  EXPECT_TRUE(sponsor_->TakeOver(back).ok()) << "its answer may have been lost";
  EXPECT_EQ(sponsor_->TakeOver(there).status().code(), ErrorCode::kPermissionDenied) << "a call that comes late";
  EXPECT_EQ(sponsor_->Renew(theirs.key, "boot-2").status().code(), ErrorCode::kPermissionDenied);
  back.to = Epoch(3);
  back.claim = RandomSecret();
  EXPECT_EQ(sponsor_->TakeOver(back).status().code(), ErrorCode::kPermissionDenied) << "epochs never go down";
}

TEST_F(SponsorTest, TakeOverShutsOutTheFormerEpoch) {
  const Lease lease = MustReserve(1);
  auto old_memory = Connect(lease);
  ASSERT_TRUE(Write(**old_memory, Slot(1), 1).ok());
  const auto old_grant = sponsor_->OpenData(lease.key, Role::kBulk, 7, 1).value();
  const auto open_write = (*old_memory)->BeginWrite(Slot(2), transport::Attempt::kFirst);
  ASSERT_TRUE(open_write.ok());

  const control::TakeOverRequest request{lease.key, Epoch(2), RandomSecret(), "c1", "boot-1"};
  EXPECT_EQ(sponsor_->TakeOver(request).status().code(), ErrorCode::kBusy) << "the old connection is still there";
  EXPECT_FALSE((*old_memory)->StillOwnedBy(Epoch(1)));
  EXPECT_EQ((*old_memory)->BeginWrite(Slot(3), transport::Attempt::kFirst).status().code(),
            ErrorCode::kPermissionDenied);
  EXPECT_EQ((*old_memory)->Release(Slot(1)).code(), ErrorCode::kPermissionDenied);
  old_memory.value().reset();
  const auto taken = sponsor_->TakeOver(request);
  ASSERT_TRUE(taken.ok()) << taken.status().ToString();
  EXPECT_EQ(taken->key.epoch, Epoch(2));
  EXPECT_TRUE(sponsor_->TakeOver(request).ok()) << "its answer may have been lost";

  EXPECT_EQ(sponsor_->Free(lease.key).code(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(sponsor_->Renew(lease.key, "boot-1").status().code(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(sponsor_->Extend(lease.key, 1).status().code(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(sponsor_->OpenData(lease.key, Role::kBulk, 1, 1).status().code(), ErrorCode::kPermissionDenied);
  EXPECT_FALSE(sponsor_->Admit({old_grant.tokens[0], lease.key.id, Epoch(1), Role::kBulk}).ok());
  auto rival = request;
  rival.claim = RandomSecret();
  EXPECT_EQ(sponsor_->TakeOver(rival).status().code(), ErrorCode::kPermissionDenied);
  auto memory = Connect(*taken);
  ASSERT_TRUE(memory.ok());
  EXPECT_TRUE(Holds(**memory, Slot(1), 1));
  EXPECT_EQ((*memory)->ForRead(Slot(2)).status().code(), ErrorCode::kDataLoss) << "the open write never counted";
}

TEST_F(SponsorTest, SuccessorOfAConnectionWaitsForItsEnd) {
  const Lease lease = MustReserve(1);
  auto first = Connect(lease, Role::kBulk, 3);
  auto other = Connect(lease, Role::kBulk, 4);
  ASSERT_TRUE(first.ok() && other.ok());
  EXPECT_EQ(Connect(lease, Role::kBulk, 3).status().code(), ErrorCode::kBusy);
  EXPECT_FALSE((*first)->StillOwnedBy(lease.key.epoch));
  EXPECT_FALSE((*first)->BeginWrite(Slot(1), transport::Attempt::kFirst).ok());
  EXPECT_TRUE((*other)->StillOwnedBy(lease.key.epoch)) << "other streams go on";
  std::thread server([&] { first.value().reset(); });
  Status status;
  const auto deadline = Deadline::After(std::chrono::seconds(10));
  do {
    status = Connect(lease, Role::kBulk, 3).status();
  } while (status.code() == ErrorCode::kBusy && !deadline.Passed());
  server.join();
  EXPECT_TRUE(status.ok()) << status.ToString();
}

TEST_F(SponsorTest, TokensAdmitOnceAndOnlyWhatTheyAreFor) {
  const Lease lease = MustReserve(1);
  const auto token = [&](Role role) { return sponsor_->OpenData(lease.key, role, 1, 1).value().tokens[0]; };
  const auto denied = [&](const transport::Hello& hello) {
    return sponsor_->Admit(hello).status().code() == ErrorCode::kPermissionDenied;
  };
  const auto id = lease.key.id;
  EXPECT_TRUE(denied({RandomSecret(), id, Epoch(1), Role::kBulk}));
  EXPECT_TRUE(denied({token(Role::kBulk), id, Epoch(1), Role::kUrgent}));
  EXPECT_TRUE(denied({token(Role::kBulk), id, Epoch(2), Role::kBulk}));
  EXPECT_TRUE(denied({token(Role::kBulk), LeaseId(id.value() + 1), Epoch(1), Role::kBulk}));
  const auto spent = token(Role::kBulk);
  EXPECT_TRUE(sponsor_->Admit({spent, id, Epoch(1), Role::kBulk}).ok());
  EXPECT_TRUE(denied({spent, id, Epoch(1), Role::kBulk}));
  const auto late = token(Role::kBulk);
  clock_.Advance(Millis(30'000));
  EXPECT_TRUE(denied({late, id, Epoch(1), Role::kBulk}));
  const auto replaced = token(Role::kBulk);
  static_cast<void>(token(Role::kBulk));
  EXPECT_TRUE(denied({replaced, id, Epoch(1), Role::kBulk})) << "a newer token for the stream is out";
  auto wrong = lease.key;
  wrong.secret = RandomSecret();
  EXPECT_EQ(sponsor_->OpenData(wrong, Role::kBulk, 1, 1).status().code(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(sponsor_->Free(wrong).code(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(sponsor_->OpenData(lease.key, Role::kBulk, 1, 65).status().code(), ErrorCode::kInvalidArgument);
  Status full;
  for (std::uint32_t stream = 0; stream < 1000 && full.ok(); stream += 64) {
    full = sponsor_->OpenData(lease.key, Role::kUrgent, stream, 64).status();
  }
  EXPECT_EQ(full.code(), ErrorCode::kResourceExhausted) << "unused tokens are bounded";
}

TEST_F(SponsorTest, ExtendAddsSlotsWhileConnected) {
  const Lease lease = MustReserve(1);
  auto memory = Connect(lease);
  EXPECT_EQ(Write(**memory, Slot(kSlotsPerSlab + 1), 1).code(), ErrorCode::kInvalidArgument);
  const auto longer = sponsor_->Extend(lease.key, 2 * kSlotsPerSlab);
  ASSERT_TRUE(longer.ok());
  EXPECT_EQ(longer->slots, 3 * kSlotsPerSlab);
  EXPECT_TRUE(Write(**memory, Slot(3 * kSlotsPerSlab), 1).ok());
  EXPECT_EQ(sponsor_->Extend(lease.key, 14 * kSlotsPerSlab).status().code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(Info().lent, Bytes(3U << 20));
}

TEST_F(SponsorTest, RestartKeepsLeasesEpochsAndPages) {
  const Lease lease = MustReserve(1);
  const auto longer = sponsor_->Extend(lease.key, 1).value();
  const auto taken = sponsor_->TakeOver({lease.key, Epoch(5), RandomSecret(), "c1", "boot-1"}).value();
  {
    auto memory = Connect(taken);
    ASSERT_TRUE(Write(**memory, Slot(1), 1).ok());
    ASSERT_TRUE(Write(**memory, Slot(longer.slots), 2).ok());
    ASSERT_TRUE(Write(**memory, Slot(2), 1).ok());
    ASSERT_TRUE((*memory)->Release(Slot(2)).ok());
    ASSERT_TRUE((*memory)->BeginWrite(Slot(3), transport::Attempt::kFirst).ok());  // never committed
  }
  sponsor_.reset();
  Start();
  EXPECT_EQ(Info().lent, Bytes(2U << 20));
  EXPECT_EQ(sponsor_->Renew(lease.key, "boot-1").status().code(), ErrorCode::kPermissionDenied) << "epoch kept";
  auto memory = Connect(taken);
  ASSERT_TRUE(memory.ok()) << memory.status().ToString();
  EXPECT_TRUE(Holds(**memory, Slot(1), 1));
  EXPECT_TRUE(Holds(**memory, Slot(longer.slots), 2));
  EXPECT_EQ((*memory)->ForRead(Slot(2)).status().code(), ErrorCode::kDataLoss);
  EXPECT_EQ((*memory)->ForRead(Slot(3)).status().code(), ErrorCode::kDataLoss);
  memory.value().reset();
  sponsor_.reset();
  Start(Bytes(1U << 20));  // donates less than it has lent
  EXPECT_EQ(Info().free, Bytes(0));
  EXPECT_TRUE(Connect(taken).ok());
  EXPECT_EQ(sponsor_->Reserve(Want(1)).status().code(), ErrorCode::kResourceExhausted);
}

TEST_F(SponsorTest, RestartCleansUpWhatWasHalfDone) {
  const Lease lease = MustReserve(1);
  const Lease damaged = MustReserve(1);
  const Lease shortened = MustReserve(1);
  ASSERT_TRUE(Connect(lease).ok());
  sponsor_.reset();
  const std::filesystem::path root(directory_.path());
  const auto dir = [&](const char* prefix, LeaseId id) { return root / (prefix + std::to_string(id.value())); };
  std::filesystem::create_directory(root / "new-77");
  std::ofstream(root / "new-77" / "slab-00000") << "half made";
  std::filesystem::create_directory(root / "gone-78");
  std::ofstream(root / "gone-78" / "slab-00000") << "half freed";
  std::ofstream(dir("lease-", lease.key.id) / "slab-00001") << "of an Extend that did not finish";
  std::ofstream(dir("lease-", lease.key.id) / "record.new") << "heca-lease 1\nepoch 9";
  std::ofstream(dir("lease-", damaged.key.id) / "record") << "heca-lease 1\nepoch 9";
  std::filesystem::resize_file(dir("lease-", shortened.key.id) / "slab-00000", 4096);
  Start();
  EXPECT_FALSE(std::filesystem::exists(root / "new-77"));
  EXPECT_FALSE(std::filesystem::exists(root / "gone-78"));
  EXPECT_FALSE(std::filesystem::exists(dir("lease-", lease.key.id) / "slab-00001"));
  EXPECT_EQ(sponsor_->Renew(damaged.key, "boot-1").status().code(), ErrorCode::kNotFound);
  EXPECT_EQ(sponsor_->Renew(shortened.key, "boot-1").status().code(), ErrorCode::kNotFound);
  EXPECT_EQ(Info().lent, Bytes(1U << 20));
  ASSERT_TRUE(sponsor_->Extend(lease.key, 1).ok());
}

TEST_F(SponsorTest, AnotherBootOfTheSponsorOrALostDirectoryForgetsLeases) {
  const Lease lease = MustReserve(1);
  sponsor_.reset();
  auto options = test::SmallSponsor(directory_.path());
  options.boot_id = "another-boot";
  auto rebooted = Sponsor::Create(options);
  ASSERT_TRUE(rebooted.ok());
  EXPECT_EQ((*rebooted)->Renew(lease.key, "boot-1").status().code(), ErrorCode::kNotFound);
}

TEST_F(SponsorTest, DirectoryIsForOneSponsorAndOnTmpfs) {
  const auto second = Sponsor::Create(test::SmallSponsor(directory_.path()));
  EXPECT_EQ(second.status().code(), ErrorCode::kBusy);
  EXPECT_NE(second.status().message().find("another hecad"), std::string_view::npos);
  const auto on_disk = Sponsor::Create(test::SmallSponsor("/proc/heca"));
  EXPECT_FALSE(on_disk.ok());
  auto odd = test::SmallSponsor(directory_.path());
  odd.slab_size = Bytes(5000);
  EXPECT_EQ(Sponsor::Create(odd).status().code(), ErrorCode::kInvalidArgument);
}

TEST_F(SponsorTest, SparseLeasesTakeNoMemoryBeforeTheyAreWritten) {
  sponsor_.reset();
  auto options = test::SmallSponsor(directory_.path());
  options.backing = Backing::kSparse;
  options.donated = Bytes(1ULL << 40);
  options.slab_size = Bytes(1ULL << 30);
  auto sparse = Sponsor::Create(options);
  ASSERT_TRUE(sparse.ok()) << sparse.status().ToString();
  const auto lease = (*sparse)->Reserve(Want(64U << 20));  // 256 GiB
  ASSERT_TRUE(lease.ok()) << lease.status().ToString();
  EXPECT_EQ(lease->slots, 64U << 20);
}

TEST_F(SponsorTest, HugePagesAreLentWhereTheyFit) {
  auto request = Want(1);
  request.page_size = kHugePage;
  EXPECT_EQ(sponsor_->Reserve(request).status().code(), ErrorCode::kInvalidArgument) << "slabs of 1 MiB";
  sponsor_.reset();
  auto options = test::SmallSponsor(directory_.path());
  options.slab_size = Bytes(4U << 20);
  auto sponsor = Sponsor::Create(options);
  ASSERT_TRUE(sponsor.ok());
  const auto lease = (*sponsor)->Reserve(request);
  ASSERT_TRUE(lease.ok());
  EXPECT_EQ(lease->slots, 2u);
  EXPECT_EQ((*sponsor)->Describe()->page_sizes, (std::vector{kBasePage, kHugePage}));
}

}  // namespace
}  // namespace heca::store
