// SPDX-License-Identifier: LGPL-2.1-or-later
#include "region/page_table.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace heca::region {
namespace {

constexpr std::uint64_t kBase = 0x7f00'0000'0000;

/// Blocks as a VM has them: below and above 4 GiB.
RegionMap MakeMap(std::vector<std::uint64_t> sizes, std::uint64_t base = kBase) {
  std::vector<BlockSpec> specs;
  for (const std::uint64_t pages : sizes) {
    specs.push_back({os::TargetAddress(base), Bytes(pages * 4096), unique_fd(::memfd_create("ram", MFD_CLOEXEC)),
                     os::FileOffset(0)});
    base += (pages + 1000) * 4096;
  }
  auto map = RegionMap::Create(std::move(specs));
  EXPECT_TRUE(map.ok());
  return std::move(map).value();
}

class PageTableTest : public testing::Test {
 protected:
  ~PageTableTest() override { ::unlink(path_.c_str()); }
  const std::string path_ = "/dev/shm/heca-table-test-" + std::to_string(::getpid());
};

TEST(RegionMap, CountsThroughItsBlocks) {
  const RegionMap map = MakeMap({10, 20});
  EXPECT_EQ(map.pages(), PageCount(30));
  EXPECT_EQ(map.PageAt(os::TargetAddress(kBase + 4096 * 9 + 5)), PageIndex(9));
  EXPECT_EQ(map.PageAt(os::TargetAddress(kBase + 4096 * 10)), std::nullopt);
  const os::TargetAddress second(kBase + 1010 * 4096);
  EXPECT_EQ(map.PageAt(second), PageIndex(10));
  EXPECT_EQ(map.AddressOf(PageIndex(12)), second + 2 * 4096);
  EXPECT_EQ(map.OffsetOf(PageIndex(12)), os::FileOffset(2 * 4096));
  EXPECT_EQ(map.Clip({PageIndex(8), 5}).pages, 2U);
  EXPECT_EQ(map.PageAt(os::TargetAddress(1)), std::nullopt);
}

TEST(RegionMap, RefusesWhatIsNotPages) {
  std::vector<BlockSpec> specs;
  specs.push_back({os::TargetAddress(kBase), Bytes(4097), unique_fd(::memfd_create("ram", MFD_CLOEXEC)),
                   os::FileOffset(0)});
  EXPECT_EQ(RegionMap::Create(std::move(specs)).status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(RegionMap::Create({}).status().code(), ErrorCode::kInvalidArgument);
}

TEST_F(PageTableTest, IsReadBackWithItsCounts) {
  const RegionMap map = MakeMap({100'000, 7});
  {
    auto table = PageTable::Create(path_, map, "lease 1");
    ASSERT_TRUE(table.ok()) << table.status().ToString();
    PageEntry entry;
    entry.state = PageState::kHere;
    entry.clean = true;
    for (const std::uint64_t page : {0U, 777U, 100'006U}) table->Move(PageIndex(page), entry);
    entry = PageEntry{PageState::kDropping, 1, false, 9, 5, Slot(66)};
    table->Move(PageIndex(777), entry);
    table->RaiseSlotMark(Slot(66));
    table->RaiseSlotMark(Slot(6));
  }
  auto table = PageTable::Open(path_, map, "lease 1");
  ASSERT_TRUE(table.ok()) << table.status().ToString();
  EXPECT_EQ(table->slot_mark(), Slot(66));
  const PageCounts counts = table->Counts();
  EXPECT_EQ(counts.Of(PageState::kZero), 100'004U);
  EXPECT_EQ(counts.Of(PageState::kHere), 2U);
  EXPECT_EQ(counts.Of(PageState::kDropping), 1U);
  EXPECT_EQ(counts.clean, 2U);
  EXPECT_EQ(counts.Resident(), 3U);
  EXPECT_EQ(table->Get(PageIndex(777)), (PageEntry{PageState::kDropping, 1, false, 9, 5, Slot(66)}));
  EXPECT_TRUE(table->TouchedAround(PageIndex(700)));
  EXPECT_FALSE(table->TouchedAround(PageIndex(50'000)));
}

TEST_F(PageTableTest, EveryMoveIsAChangeButNotWhatThePolicyRemembers) {
  const RegionMap map = MakeMap({100});
  auto table = PageTable::Create(path_, map, "lease 1");
  ASSERT_TRUE(table.ok());
  ChangeMap& changes = table->changes();
  changes.Begin(ChangeMap::AllOf(PageCount(100)));
  changes.Clear(PageIndex(5));
  table->SetPolicy(PageIndex(5), 200);
  EXPECT_FALSE(changes.IsSet(PageIndex(5)));
  PageEntry entry = table->Get(PageIndex(5));
  entry.generation = entry.NextGeneration();
  table->Move(PageIndex(5), entry);
  EXPECT_TRUE(changes.IsSet(PageIndex(5)));
}

TEST_F(PageTableTest, RefusesATableThatDoesNotFit) {
  const RegionMap map = MakeMap({50});
  { ASSERT_TRUE(PageTable::Create(path_, map, "lease 1").ok()); }
  EXPECT_EQ(PageTable::Create(path_, map, "lease 1").status().code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(PageTable::Open(path_, map, "lease 2").status().code(), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(PageTable::Open(path_, MakeMap({51}), "lease 1").status().code(), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(PageTable::Open(path_, MakeMap({50}, kBase + 4096), "lease 1").status().code(),
            ErrorCode::kFailedPrecondition);
  EXPECT_EQ(PageTable::Open(path_, MakeMap({20, 30}), "lease 1").status().code(), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(PageTable::Open(path_ + "x", map, "lease 1").status().code(), ErrorCode::kNotFound);
  const unique_fd file(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
  const std::uint64_t garbage = 0xF;  // a state that does not exist
  ASSERT_EQ(::pwrite(file.get(), &garbage, 8, 4096 + 8 * 3), 8);
  EXPECT_EQ(PageTable::Open(path_, map, "lease 1").status().code(), ErrorCode::kDataLoss);
  const std::uint64_t nothing = 0;
  ASSERT_EQ(::pwrite(file.get(), &nothing, 8, 0), 8);
  EXPECT_EQ(PageTable::Open(path_, map, "lease 1").status().code(), ErrorCode::kFailedPrecondition);
}

TEST_F(PageTableTest, BelongsToOneDaemon) {
  const RegionMap map = MakeMap({50});
  auto first = PageTable::Create(path_, map, "lease 1");
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(PageTable::Open(path_, map, "lease 1").status().code(), ErrorCode::kBusy);
}

TEST_F(PageTableTest, TakesEightBytesAPageAndAllOfThemAtOnce) {
  const RegionMap map = MakeMap({std::uint64_t{1} << 20});  // 4 GiB
  auto table = PageTable::Create(path_, map, "lease 1");
  ASSERT_TRUE(table.ok());
  struct stat info{};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(info.st_blocks) * 512, PageTable::FileBytes(map.pages()).value());
  EXPECT_EQ(PageTable::FileBytes(map.pages()).value(), (8U << 20) + 4096);
}

/// In a child with a mount namespace of its own: a tmpfs that becomes full under the table.
TEST_F(PageTableTest, AFullTmpfsIsRefusedAtOnceAndNeverHurtsLater) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const std::string directory = path_ + ".dir";
    const auto check = [](bool good, int step) {
      if (!good) ::_exit(step);
    };
    check(::unshare(CLONE_NEWNS) == 0 && ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, 1);
    check(::mkdir(directory.c_str(), 0700) == 0, 2);
    check(::mount("tmpfs", directory.c_str(), "tmpfs", 0, "size=1M") == 0, 3);
    const RegionMap large = MakeMap({std::uint64_t{256} << 10});  // needs 2 MiB
    const auto refused = PageTable::Create(directory + "/t", large, "s");
    check(refused.status().code() == ErrorCode::kResourceExhausted, 4);
    check(refused.status().message().find("needs 2") != std::string_view::npos, 5);
    check(::access((directory + "/t").c_str(), F_OK) != 0, 6);
    const RegionMap map = MakeMap({100'000});  // 800 kB
    auto table = PageTable::Create(directory + "/t", map, "s");
    check(table.ok(), 7);
    const unique_fd filler(::open((directory + "/filler").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    while (::write(filler.get(), "x", 1) == 1) {
    }
    PageEntry entry;
    entry.state = PageState::kHere;
    for (std::uint64_t page = 0; page < 100'000; page += 100) table->Move(PageIndex(page), entry);  // SIGBUS if sparse
    ::umount2(directory.c_str(), MNT_DETACH);
    ::rmdir(directory.c_str());
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << "ended by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0) << "the step that failed";
  ::rmdir((path_ + ".dir").c_str());
}

TEST_F(PageTableTest, AnIllegalMoveEndsTheProcess) {
  const RegionMap map = MakeMap({50});
  auto table = PageTable::Create(path_, map, "lease 1");
  ASSERT_TRUE(table.ok());
  PageEntry entry;
  entry.state = PageState::kAway;
  EXPECT_DEATH(table->Move(PageIndex(1), entry), "IsLegalMove");
}

}  // namespace
}  // namespace heca::region
