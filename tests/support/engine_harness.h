// SPDX-License-Identifier: LGPL-2.1-or-later
// A region engine over a real userfaultfd of this very process: guest memory, a memory store, a journal on tmpfs.
// Threads of the test are the guest; the engine's threads never touch the mapping.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "fault/engine.h"
#include "fault/policy_adaptive.h"
#include "os/probe_uffd.h"
#include "support/memory_store.h"

namespace heca::test {

/// For what must come: tells a hang, and nothing of speed.
inline constexpr Nanos kPatience = std::chrono::seconds(60);

/// Waits until `done()` holds; false when the deadline passed.
template <class Done>
bool WaitUntil(Done done, Nanos span = kPatience) {
  const Deadline deadline = Deadline::After(span);
  while (!done()) {
    if (deadline.Passed()) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return true;
}

/// Shared memory as QEMU has it, all of it one block.
class GuestMemory {
 public:
  explicit GuestMemory(std::uint64_t pages, Bytes page_size = kBasePage, int file = -1)
      : pages_(pages), page_size_(page_size), file_(file) {
    if (file < 0) {
      file_.reset(::memfd_create("guest", MFD_CLOEXEC | (page_size == kBasePage ? 0U : MFD_HUGETLB)));
    }
    HECA_CHECK(file_.valid() && ::ftruncate(file_.get(), static_cast<off_t>(size())) == 0);
    memory_ = ::mmap(nullptr, size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file_.get(), 0);
    HECA_CHECK(memory_ != MAP_FAILED);
  }
  ~GuestMemory() { ::munmap(memory_, size()); }
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  [[nodiscard]] std::uint64_t pages() const { return pages_; }
  [[nodiscard]] std::size_t size() const { return pages_ * page_size_.value(); }
  [[nodiscard]] int file() const { return file_.get(); }
  [[nodiscard]] os::TargetAddress address() const { return os::TargetAddress(reinterpret_cast<std::uintptr_t>(memory_)); }
  [[nodiscard]] char* At(std::uint64_t page) const { return static_cast<char*>(memory_) + page * page_size_.value(); }
  /// One 64-bit word of a page, as the guest sees it: this may wait for the engine.
  [[nodiscard]] volatile std::uint64_t& Word(std::uint64_t page, std::size_t word = 8) const {
    return reinterpret_cast<volatile std::uint64_t*>(At(page))[word];
  }
  /// The file's bytes, without a fault.
  [[nodiscard]] std::uint64_t Peek(std::uint64_t page, std::size_t word = 8) const {
    std::uint64_t value = 0;
    HECA_CHECK(::pread(file_.get(), &value, 8, static_cast<off_t>(page * page_size_.value() + word * 8)) == 8);
    return value;
  }
  [[nodiscard]] bool InFile(std::uint64_t page) const {
    const auto at = static_cast<off_t>(page * page_size_.value());
    return ::lseek(file_.get(), at, SEEK_DATA) == at;
  }
  [[nodiscard]] bool Punch(std::uint64_t page, std::uint64_t count = 1) const {
    return ::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                       static_cast<off_t>(page * page_size_.value()),
                       static_cast<off_t>(count * page_size_.value())) == 0;
  }
  [[nodiscard]] region::RegionMap Map() const {
    std::vector<region::BlockSpec> specs;
    specs.push_back({address(), Bytes(size()), unique_fd(::fcntl(file_.get(), F_DUPFD_CLOEXEC, 0)), os::FileOffset(0)});
    auto map = region::RegionMap::Create(std::move(specs));
    HECA_CHECK(map.ok());
    return std::move(map).value();
  }

 private:
  std::uint64_t pages_;
  Bytes page_size_;
  unique_fd file_;
  void* memory_ = nullptr;
};

class EventRecorder final : public fault::EngineObserver {
 public:
  void OnEngineEvent(const fault::EngineEvent& event) override {
    const std::lock_guard lock(mutex_);
    ++counts_[static_cast<std::size_t>(event.kind)];
    last_[static_cast<std::size_t>(event.kind)] = event;
  }
  [[nodiscard]] int Count(fault::EngineEventKind kind) {
    const std::lock_guard lock(mutex_);
    return counts_[static_cast<std::size_t>(kind)];
  }
  [[nodiscard]] fault::EngineEvent Last(fault::EngineEventKind kind) {
    const std::lock_guard lock(mutex_);
    return last_[static_cast<std::size_t>(kind)];
  }

 private:
  std::mutex mutex_;
  std::array<int, 16> counts_{};
  std::array<fault::EngineEvent, 16> last_;
};

/// The rule of a test: nothing in flight unless the test holds it.
class TestGuard final : public IoGuard {
 public:
  IoMark Mark() override { return IoMark(++marks_); }
  bool Drained(IoMark mark) override { return mark.value() <= drained_.load(); }
  [[nodiscard]] int RecheckMs() const override { return holds_.load() ? 1 : 0; }
  [[nodiscard]] std::string Describe() const override { return "test"; }
  void Hold() {
    holds_ = true;
    drained_ = marks_.load();
  }
  /// All I/O in flight up to now is over, as far as the guard knows; marks from now on are held.
  void Advance() { drained_ = marks_.load(); }
  void LetGo() {
    drained_ = ~std::uint64_t{0};
    holds_ = false;
  }
  [[nodiscard]] std::uint64_t marks() const { return marks_.load(); }

 private:
  std::atomic<std::uint64_t> marks_{0};
  std::atomic<std::uint64_t> drained_{~std::uint64_t{0}};
  std::atomic<bool> holds_{false};
};

/// A path on tmpfs that goes away with the test.
class JournalPath {
 public:
  JournalPath() {
    static std::atomic<int> number{0};
    path_ = "/dev/shm/heca-test-" + std::to_string(::getpid()) + "-" + std::to_string(++number) + ".table";
  }
  ~JournalPath() { ::unlink(path_.c_str()); }
  JournalPath(const JournalPath&) = delete;
  JournalPath& operator=(const JournalPath&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline constexpr const char* kStoreName = "memory store 1";

class EngineHarness {
 public:
  struct Options {
    std::uint64_t pages = 1024;
    std::uint64_t limit = 256;
    std::uint32_t slots = 0;  ///< 0: twice the pages
    std::uint32_t read_only = 0;  ///< of the slots
    Bytes page_size = kBasePage;
    bool prefetch = true;
    Millis min_residence{1};
    bool continue_protected = true;  ///< false: as on a kernel before 6.4, whatever this one can do
    int file = -1;
    std::vector<std::int32_t> vcpu_threads{};  ///< whose waits are counted
  };

  explicit EngineHarness(const Options& options)
      : options_(options),
        guest_(options.pages, options.page_size, options.file),
        arena_(options.page_size, options.slots != 0 ? options.slots : static_cast<std::uint32_t>(2 * options.pages)),
        store_(arena_, options.read_only) {
    auto uffd = os::Uffd::OpenForSelf();
    HECA_CHECK(uffd.ok());
    uffd_.reset(::fcntl(uffd->fd(), F_DUPFD_CLOEXEC, 0));
  }
  ~EngineHarness() { engine_.reset(); }

  static const os::UffdAbilities& Abilities() {
    static const os::UffdAbilities abilities = [] {
      auto probed = os::ProbeUffd();
      HECA_CHECK(probed.ok());
      return probed.value();
    }();
    return abilities;
  }

  Result<region::PageTable> Table(fault::StartMode mode) {
    return mode == fault::StartMode::kFresh ? region::PageTable::Create(journal_.path(), guest_.Map(), kStoreName)
                                            : region::PageTable::Open(journal_.path(), guest_.Map(), kStoreName);
  }
  Status Start(fault::StartMode mode = fault::StartMode::kFresh) {
    HECA_ASSIGN_OR_RETURN(region::PageTable table, Table(mode));
    return Start(mode, std::move(table));
  }
  Status Start(fault::StartMode mode, region::PageTable table, bool held = false) {
    fault::EngineConfig config;
    config.held = held;
    config.abilities = Abilities();
    config.abilities.continue_protected &= options_.continue_protected;
    config.limit = PageCount(options_.limit);
    config.prefetch = options_.prefetch;
    config.min_residence = options_.min_residence;
    config.vcpu_threads = options_.vcpu_threads;
    fault::AdaptivePolicyOptions policy;
    policy.region_pages = PageCount(options_.pages);
    policy.limit = config.limit;
    HECA_ASSIGN_OR_RETURN(
        engine_, fault::RegionEngine::Start(
                     {os::Uffd(unique_fd(::fcntl(uffd_.get(), F_DUPFD_CLOEXEC, 0))), unique_fd(), guest_.Map(),
                      std::move(table), std::make_unique<fault::AdaptivePolicy>(policy), store_, guard_, events_, config},
                     mode));
    return Status();
  }
  /// A daemon that goes away without detach.
  void Stop() { engine_.reset(); }

  GuestMemory& guest() { return guest_; }
  MemoryArena& arena() { return arena_; }
  MemoryStore& store() { return store_; }
  fault::RegionEngine& engine() { return *engine_; }
  EventRecorder& events() { return events_; }
  TestGuard& guard() { return guard_; }
  [[nodiscard]] int uffd() const { return uffd_.get(); }
  [[nodiscard]] const std::string& journal() const { return journal_.path(); }
  [[nodiscard]] region::PageEntry Entry(std::uint64_t page) const { return engine_->table().Get(PageIndex(page)); }
  bool WaitState(std::uint64_t page, region::PageState state) {
    return WaitUntil([&] { return Entry(page).state == state; });
  }

 private:
  Options options_;
  GuestMemory guest_;
  MemoryArena arena_;
  MemoryStore store_;
  unique_fd uffd_;
  JournalPath journal_;
  EventRecorder events_;
  TestGuard guard_;
  std::unique_ptr<fault::RegionEngine> engine_;
};

/// Threads that write counters into their own pages and check each against a private copy before every write.
class ShadowWriters {
 public:
  /// Thread k owns the pages p with p % threads == k. `write_share`: of 8 visits, so many write, the others read.
  /// `pages`: only the first so many; 0: all.
  ShadowWriters(GuestMemory& guest, unsigned threads, unsigned write_share = 4, bool sequential = false,
                std::uint64_t pages = 0)
      : guest_(guest), pages_(pages != 0 ? pages : guest.pages()) {
    for (unsigned k = 0; k < threads; ++k) {
      running_.fetch_add(1);
      threads_.emplace_back([this, k, threads, write_share, sequential] { Work(k, threads, write_share, sequential); });
    }
  }
  ~ShadowWriters() { Finish(); }

  /// Ends the threads; a thread that waits for ever ends the process with a message.
  void Finish(Nanos patience = std::chrono::seconds(60)) {
    stop_ = true;
    if (!WaitUntil([this] { return running_.load() == 0; }, patience)) {
      std::fprintf(stderr, "ShadowWriters: %d threads never came back from a fault\n", running_.load());
      std::abort();
    }
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }
  [[nodiscard]] std::uint64_t wrong() const { return wrong_.load(); }
  [[nodiscard]] std::uint64_t visits() const { return visits_.load(); }

 private:
  void Work(unsigned k, unsigned threads, unsigned write_share, bool sequential) {
    const std::uint64_t own = pages_ / threads;
    std::vector<std::uint64_t> shadow(own);
    for (std::uint64_t i = 0; i < own; ++i) shadow[i] = guest_.Word(i * threads + k);
    std::uint64_t random = k * 7919 + 1;
    std::uint64_t next = 0;
    while (!stop_.load(std::memory_order_relaxed)) {
      random = random * 6364136223846793005U + 1442695040888963407U;
      const std::uint64_t i = sequential ? next++ % own : (random >> 33) % own;
      volatile std::uint64_t& word = guest_.Word(i * threads + k);
      const std::uint64_t seen = word;
      if (seen != shadow[i]) {
        if (wrong_.fetch_add(1) < 5) {
          std::fprintf(stderr, "page %llu holds %llu, want %llu\n", static_cast<unsigned long long>(i * threads + k),
                       static_cast<unsigned long long>(seen), static_cast<unsigned long long>(shadow[i]));
        }
        shadow[i] = seen;
      }
      if ((random >> 20 & 7) < write_share) word = ++shadow[i];
      visits_.fetch_add(1, std::memory_order_relaxed);
    }
    running_.fetch_sub(1);
  }

  GuestMemory& guest_;
  const std::uint64_t pages_;
  std::atomic<bool> stop_{false};
  std::atomic<int> running_{0};
  std::atomic<std::uint64_t> wrong_{0};
  std::atomic<std::uint64_t> visits_{0};
  std::vector<std::thread> threads_;
};

}  // namespace heca::test
