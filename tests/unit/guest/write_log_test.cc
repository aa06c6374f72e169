// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/write_log.h"

#include <gtest/gtest.h>
#include <linux/mount.h>
#include <sys/syscall.h>

#include <algorithm>

#include "guest/blocks.h"
#include "os/probe_uffd.h"
#include "os/proc.h"
#include "qemu_process.h"
#include "write_log_kinds.h"
#include "written_process.h"

namespace heca::guest {
namespace {

using std::chrono::milliseconds;
using testing::Abilities;
using testing::Soon;
using testing::Tells;
using testing::WrittenProcess;

class WriteLogTest : public testing::EachKindByPages {};
INSTANTIATE_TEST_SUITE_P(Kinds, WriteLogTest, testing::kEachKind, testing::KindName);

TEST_P(WriteLogTest, TellsPagesOnceUntilTheyAreWrittenAgain) {
  WrittenProcess process({256});
  process.Write(0, 128);  // the second half are holes
  const auto log = Start(process);
  EXPECT_EQ(log->kind(), GetParam());
  ExpectPages(Collected(*log), {});
  process.Write(3);
  process.Write(100);
  process.Write(200);
  ExpectPages(Collected(*log), {3, 100, 200});
  ExpectPages(Collected(*log), {});
  process.Write(3);
  process.Write(201);
  ExpectPages(Collected(*log), {3, 201});
}

TEST_P(WriteLogTest, ReadingIsNotWriting) {
  WrittenProcess process({64});
  process.Write(0, 32);
  const auto log = Start(process);
  process.Do([](char* memory, int, std::uint64_t, std::uint64_t) {
    for (int page = 0; page < 64; ++page) (void)*const_cast<volatile char*>(memory + page * 4096);
  });
  ExpectPages(Collected(*log), {});
  process.Write(50);  // a hole that was read
  ExpectPages(Collected(*log), {50});
}

TEST_P(WriteLogTest, FinalArmsNothing) {
  WrittenProcess process({64});
  const auto log = Start(process);
  process.Write(5);
  for (int again = 0; again < 2; ++again) {
    const auto spans = log->Final();
    ASSERT_TRUE(spans.ok()) << spans.status().ToString();
    ExpectPages(*spans, {5});
  }
  process.Write(40);  // it goes on after all
  ExpectPages(Collected(*log), {5, 40});
  ExpectPages(log->Final().value(), {});
}

TEST_P(WriteLogTest, TheKernelsWritesCount) {
  WrittenProcess process({64});
  process.Write(0, 64);
  const auto log = Start(process);
  process.Do([](char* memory, int, std::uint64_t, std::uint64_t) {  // buffered disk I/O of a QEMU
    const unique_fd source(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
    HECA_CHECK(::pread(source.get(), memory + std::ptrdiff_t{20} * 4096, 4096, 0) == 4096);
  });
  ExpectPages(Collected(*log), {20});
}

TEST_P(WriteLogTest, AForkDoesNotEndIt) {
  WrittenProcess process({64});
  process.Write(0, 64);
  const auto log = Start(process);
  process.Do([](char*, int, std::uint64_t, std::uint64_t) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(0);
    ::waitpid(child, nullptr, 0);
  });
  process.Write(7);
  ExpectPages(Collected(*log), {7});
}

void Discard(char* memory, int file, std::uint64_t at, std::uint64_t length) {  // as QEMU's balloon does it
  HECA_CHECK(::fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(at),
                         static_cast<off_t>(length)) == 0);
  HECA_CHECK(::madvise(memory + at, length, MADV_DONTNEED) == 0);
}

TEST_P(WriteLogTest, DiscardedPagesThatAreWrittenAgain) {
  WrittenProcess process({1024});
  process.Write(0, 1024);
  const auto log = Start(process);
  process.Write(32);
  process.Do(Discard, 32 * 4096, 2 * 4096);  // one that was written, one that is armed
  process.Write(32);
  process.Write(33);
  ExpectPages(Collected(*log), {32, 33});
  process.Do(Discard, 32 * 4096, 2 * 4096);
  (void)Collected(*log);
  process.Write(33);
  EXPECT_TRUE(Tells(Collected(*log), 33));
  // All pages of a page table written, and all discarded: newer kernels free the page table with the marks in it.
  process.Write(0, 1024);
  process.Do(Discard, 0, 1024 * 4096);
  (void)Collected(*log);
  process.Write(600);
  EXPECT_TRUE(Tells(Collected(*log), 600));
}

/// More runs than the kernel's answer holds, and one run over the borders of the steps in which the log is gone
/// through. The sync log takes fewer: each costs it a fault.
TEST_P(WriteLogTest, ThousandsOfScatteredRunsAndOneLongOne) {
  const bool sync = GetParam() == WriteLogKind::kSync;
  const std::uint64_t pages = sync ? 16384 : 65536;
  const std::uint64_t step = sync ? 32 : 2;
  WrittenProcess process({pages});
  const auto log = Start(process);
  process.Write(0, pages, step);
  const auto spans = Collected(*log);
  ASSERT_EQ(spans.size(), pages / step);
  for (std::uint64_t page = 0; page < pages; page += step) ASSERT_TRUE(spans[page / step].first == PageIndex(page));
  EXPECT_TRUE(Collected(*log).empty());
  process.Write(0, pages);
  EXPECT_EQ(Collected(*log), (std::vector<PageSpan>{{PageIndex(0), PageCount(pages)}}));
}

TEST_P(WriteLogTest, PagesAreCountedThroughTheRanges) {
  WrittenProcess process({40, 1, 100});
  const auto log = Start(process);
  const auto touch = [](char*, int, std::uint64_t address, std::uint64_t) {
    WrittenProcess::Touch(reinterpret_cast<char*>(address));
  };
  process.Do(touch, process.ram()[0].address.value() + 39 * 4096);
  process.Do(touch, process.ram()[1].address.value());
  process.Do(touch, process.ram()[2].address.value());
  process.Do(touch, process.ram()[2].address.value() + 99 * 4096);
  const auto spans = Collected(*log);
  for (const std::uint64_t page : {39U, 40U, 41U, 140U}) EXPECT_TRUE(Tells(spans, page)) << page;
  ASSERT_EQ(spans.size(), 4U) << "no span reaches from one range into the next";
  EXPECT_EQ(spans[1], (PageSpan{PageIndex(40), PageCount(1)}));
  EXPECT_EQ(spans[3].first.value() + spans[3].pages.value(), 141U);
}

TEST_P(WriteLogTest, MemoryThatIsUnmappedOrMappedAnewIsNeverCalledClean) {
  for (const bool whole : {false, true}) {
    WrittenProcess process({64});
    const auto log = Start(process);
    process.Write(20);
    const auto unmap = [](char* memory, int, std::uint64_t at, std::uint64_t length) { ::munmap(memory + at, length); };
    const auto map = [](char* memory, int file, std::uint64_t at, std::uint64_t length) {
      HECA_CHECK(::mmap(memory + at, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file,
                        static_cast<off_t>(at)) == memory + at);
    };
    const std::uint64_t at = whole ? 0 : 16 * 4096;
    const std::uint64_t length = whole ? 64 * 4096 : 16 * 4096;
    process.Do(unmap, at, length);
    EXPECT_EQ(log->Final().status().code(), ErrorCode::kFailedPrecondition);
    EXPECT_EQ(log->Collect().status().code(), ErrorCode::kFailedPrecondition);
    process.Do(map, at, length);
    process.Write(20);
    EXPECT_EQ(log->Final().status().code(), ErrorCode::kFailedPrecondition);
    EXPECT_EQ(log->Collect().status().code(), ErrorCode::kFailedPrecondition);
    EXPECT_TRUE(log->Stop(Soon()).ok());
    EXPECT_TRUE(ListUffds(process.pid())->empty());
  }
}

TEST_P(WriteLogTest, ABlockOfSeveralMappingsIsOneRange) {
  WrittenProcess process({64});
  process.Do([](char* memory, int, std::uint64_t, std::uint64_t) {  // as a NUMA policy does
    HECA_CHECK(::madvise(memory + std::ptrdiff_t{20} * 4096, 4096, MADV_SEQUENTIAL) == 0);
  });
  const auto log = Start(process);
  process.Write(19);
  process.Write(20);
  process.Write(21);
  const auto spans = Collected(*log);
  for (const std::uint64_t page : {19U, 20U, 21U}) EXPECT_TRUE(Tells(spans, page)) << page;
  process.Write(20);
  EXPECT_TRUE(Tells(Collected(*log), 20));
}

/// A file on a tmpfs of its own that gives huge pages wherever it can.
unique_fd HugeTmpfsFile() {
  const unique_fd context(static_cast<int>(::syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC)));
  if (!context || ::syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_STRING, "huge", "always", 0) != 0 ||
      ::syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return {};
  }
  const unique_fd mount(static_cast<int>(::syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, 0)));
  return unique_fd(mount ? ::openat(mount.get(), "ram", O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1);
}

TEST_P(WriteLogTest, TransparentHugePages) {
  unique_fd file = HugeTmpfsFile();
  if (!file) GTEST_SKIP() << "no tmpfs with huge pages (CONFIG_TRANSPARENT_HUGEPAGE)";
  WrittenProcess process({2048}, std::move(file));
  process.Write(0, 1024);
  const auto usage = os::ReadSmallFile("/proc/" + std::to_string(process.pid()) + "/smaps_rollup");
  const auto huge_kib = os::ParseField(usage.value(), "ShmemPmdMapped");
  if (huge_kib.value_or(0) < 4096) GTEST_SKIP() << "the kernel gave no huge pages";
  const auto log = Start(process);
  EXPECT_TRUE(Collected(*log).empty());
  process.Write(3);
  process.Write(600);
  process.Write(1500);  // a hole that may become a huge page
  const auto spans = Collected(*log);
  for (const std::uint64_t page : {3U, 600U, 1500U}) EXPECT_TRUE(Tells(spans, page)) << page;
  // A huge page that was written is split by a discard in it: the others of its pages still count as written.
  process.Write(512, 1024);
  process.Do(Discard, 700 * 4096, 4096);
  const auto split = Collected(*log);
  for (std::uint64_t page = 512; page < 1024; ++page) EXPECT_TRUE(page == 700 || Tells(split, page)) << page;
  process.Write(700);
  process.Write(701);
  const auto after = Collected(*log);
  EXPECT_TRUE(Tells(after, 700) && Tells(after, 701));
}

/// Some pages in the machine's pool while it lives; the tests of a program run one after the other.
class HugePool {
 public:
  explicit HugePool(std::uint64_t pages) : before_(std::stoull(os::ReadSmallFile(kPath).value())) {
    Set(before_ + pages);
  }
  ~HugePool() { Set(before_); }
  HugePool(const HugePool&) = delete;
  HugePool& operator=(const HugePool&) = delete;
  [[nodiscard]] std::uint64_t got() const { return std::stoull(os::ReadSmallFile(kPath).value()) - before_; }

 private:
  static constexpr const char* kPath = "/proc/sys/vm/nr_hugepages";
  static void Set(std::uint64_t pages) {
    const unique_fd file(::open(kPath, O_WRONLY | O_CLOEXEC));
    const std::string text = std::to_string(pages);
    EXPECT_EQ(::write(file.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  const std::uint64_t before_;
};

TEST_P(WriteLogTest, HugetlbPages) {
  const HugePool pool(8);
  if (pool.got() < 8) GTEST_SKIP() << "needs 8 huge pages of 2 MiB, got " << pool.got();
  WrittenProcess process({8}, unique_fd(::memfd_create("ram", MFD_CLOEXEC | MFD_HUGETLB)), kHugePage);
  process.Write(0, 4);
  const auto log = Start(process, kHugePage);
  EXPECT_TRUE(Collected(*log).empty());
  process.Write(2);
  process.Write(6);
  const std::vector<PageSpan> both{{PageIndex(2), PageCount(1)}, {PageIndex(6), PageCount(1)}};
  EXPECT_EQ(log->Final().value(), both);
  EXPECT_EQ(Collected(*log), both);
  EXPECT_TRUE(Collected(*log).empty());
  process.Write(6);
  EXPECT_EQ(Collected(*log), (std::vector<PageSpan>{both[1]}));
}

TEST(WriteLogKindTest, TheBestOneOfThisKernel) {
  WrittenProcess process({16});
  WrittenProcess other({16});  // made before the log, a descriptor of which it would inherit
  const auto start = [](const WrittenProcess& by, const os::UffdAbilities& abilities, WriteLogKind kind) {
    return StartWriteLog(by.pid(), nullptr, by.ram(), kBasePage, abilities, kind, Soon());
  };
  const auto log = start(process, Abilities(), WriteLogKind::kBest);
  ASSERT_TRUE(log.ok()) << log.status().ToString();
  EXPECT_EQ((*log)->kind(), Abilities().page_scan ? WriteLogKind::kAsync : WriteLogKind::kSync);
  os::UffdAbilities old = Abilities();
  old.page_scan = false;
  EXPECT_EQ(start(other, old, WriteLogKind::kAsync).status().code(), ErrorCode::kUnsupported);
  const auto fallen_back = start(other, old, WriteLogKind::kBest);
  ASSERT_TRUE(fallen_back.ok()) << fallen_back.status().ToString();
  EXPECT_EQ((*fallen_back)->kind(), WriteLogKind::kSync);
}

/// Firmware writes the memory of a stock QEMU; what is copied by the log is in the end what is there.
TEST_P(WriteLogTest, AQemuWhoseFirmwareRuns) {
  if (!testing::QemuProcess::Installed()) GTEST_SKIP() << "qemu-system-x86_64 is not installed";
  if (::access("/dev/userfaultfd", R_OK) != 0) GTEST_SKIP() << "no /dev/userfaultfd (Linux 6.1, as root)";
  testing::QemuProcess qemu(testing::SharedRam());
  auto qmp = qemu.Connect();
  ASSERT_TRUE(qmp.ok()) << qmp.status().ToString();
  const auto blocks = QemuRamBlocks(qemu.Pid(), **qmp, Soon());
  ASSERT_TRUE(blocks.ok()) << blocks.status().ToString();
  const RamBlock& block = blocks->front();
  std::vector<char> mirror(block.bytes.value());
  std::vector<char> file(block.bytes.value());
  const auto read_file = [&](char* into, std::uint64_t at, std::uint64_t length) {
    ASSERT_EQ(::pread(block.fd.get(), into, length, static_cast<off_t>(at)), static_cast<ssize_t>(length));
  };
  const std::vector<AddressRange> ram{{os::TargetAddress(block.address), block.bytes}};
  const auto started = StartWriteLog(qemu.Pid(), qmp->get(), ram, kBasePage, Abilities(), GetParam(), Soon());
  ASSERT_TRUE(started.ok()) << started.status().ToString();
  WriteLog& log = **started;
  read_file(mirror.data(), 0, mirror.size());
  const auto copy = [&](const std::vector<PageSpan>& spans) {
    for (const PageSpan& span : spans) {
      const std::uint64_t at = span.first.value() * 4096;
      read_file(mirror.data() + at, at, span.pages.value() * 4096);
    }
  };
  ASSERT_TRUE((*qmp)->Execute("cont", {}, Soon()).ok());
  std::uint64_t told = 0;
  const Deadline deadline = Soon();
  while (told < 40 && !deadline.Passed()) {
    const auto spans = Collected(log);
    for (const PageSpan& span : spans) told += span.pages.value();
    copy(spans);
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_GE(told, 40U) << "the firmware has written nothing";
  ASSERT_TRUE((*qmp)->Execute("stop", {}, Soon()).ok());
  copy(log.Final().value());
  read_file(file.data(), 0, file.size());
  EXPECT_TRUE(mirror == file);
  EXPECT_TRUE(log.Stop(Soon()).ok());
  EXPECT_TRUE(ListUffds(qemu.Pid())->empty());
  EXPECT_TRUE((*qmp)->Execute("cont", {}, Soon()).ok()) << "QEMU lives on";
}

}  // namespace
}  // namespace heca::guest
