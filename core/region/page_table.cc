// SPDX-License-Identifier: LGPL-2.1-or-later
#include "region/page_table.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/size.h"
#include "region/table_header.h"

namespace heca::region {
namespace {

static_assert(std::atomic<std::uint64_t>::is_always_lock_free && sizeof(std::atomic<std::uint64_t>) == 8);

void Add(std::atomic<std::uint64_t>& counter, std::uint64_t delta) {
  counter.store(counter.load(std::memory_order_relaxed) + delta, std::memory_order_relaxed);
}

/// All of it now, so that no store to the mapping can ever find the file system full.
Status Allocate(const unique_fd& file, const std::string& path, Bytes size) {
  int error = 0;
  do {
    error = ::fallocate(file.get(), 0, 0, static_cast<off_t>(size.value())) == 0 ? 0 : errno;
  } while (error == EINTR);
  if (error == 0) return Status();
  if (error != ENOSPC) return Status::FromErrno(error, "allocating the page table " + path, ErrorScope::kRegion);
  return Status(ErrorCode::kResourceExhausted,
                "the page table " + path + " needs " + FormatSize(size) +
                    " and its file system has not so much free: free space there, or give hecad another run-dir",
                ErrorScope::kRegion, error);
}

Status Lock(const unique_fd& file, const std::string& path) {
  if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) return Status();
  if (errno == EWOULDBLOCK) {
    return Status(ErrorCode::kBusy, "another hecad serves this region: it holds the lock on " + path,
                  ErrorScope::kRegion);
  }
  return Status::FromErrno(errno, "flock of " + path, ErrorScope::kRegion);
}

}  // namespace

std::uint64_t PageCounts::Resident() const {
  std::uint64_t sum = 0;
  for (std::size_t state = 0; state < kPageStates; ++state) {
    if (IsResident(static_cast<PageState>(state))) sum += by_state[state];
  }
  return sum;
}

Result<PageTable> PageTable::Map(unique_fd file, PageCount pages) {
  PageTable table;
  table.memory_size_ = FileBytes(pages).value();
  void* memory = ::mmap(nullptr, table.memory_size_, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) return Status::FromErrno(errno, "mmap of the page table", ErrorScope::kRegion);
  // A sweep over an untouched part must not bring huge pages of zeros in.
  ::madvise(memory, table.memory_size_, MADV_NOHUGEPAGE);
  table.memory_ = memory;
  table.entries_ =
      reinterpret_cast<std::atomic<std::uint64_t>*>(static_cast<std::byte*>(memory) + sizeof(TableHeader));
  table.file_ = std::move(file);
  table.pages_ = pages;
  table.touched_.resize((pages.value() + kGroup - 1) / kGroup, 0);
  return table;
}

Bytes PageTable::FileBytes(PageCount pages) {
  return Bytes(sizeof(TableHeader) + pages.value() * sizeof(std::uint64_t));
}

Result<PageTable> PageTable::Create(const std::string& path, const RegionMap& map, const std::string& store) {
  unique_fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) return Status::FromErrno(errno, "creating the page table " + path, ErrorScope::kRegion);
  HECA_RETURN_IF_ERROR(Lock(file, path));
  if (const Status room = Allocate(file, path, FileBytes(map.pages())); !room.ok()) {
    ::unlink(path.c_str());
    return room;
  }
  HECA_ASSIGN_OR_RETURN(PageTable table, Map(std::move(file), map.pages()));
  HECA_RETURN_IF_ERROR(WriteHeader(*static_cast<TableHeader*>(table.memory_), map, store));
  table.counts_[static_cast<std::size_t>(PageState::kZero)].store(map.pages().value(), std::memory_order_relaxed);
  return table;
}

Result<PageTable> PageTable::CreateAway(const std::string& path, const RegionMap& map, const std::string& store) {
  HECA_ASSIGN_OR_RETURN(PageTable table, Create(path, map, store));
  for (std::uint64_t page = 0; page < map.pages().value(); ++page) {
    PageEntry entry;
    entry.state = PageState::kAway;
    entry.slot = Slot(static_cast<std::uint32_t>(page + 1));
    table.entries_[page].store(entry.Encode(), std::memory_order_relaxed);
    ++table.touched_[page / kGroup];
  }
  table.counts_[static_cast<std::size_t>(PageState::kZero)].store(0, std::memory_order_relaxed);
  table.counts_[static_cast<std::size_t>(PageState::kAway)].store(map.pages().value(), std::memory_order_relaxed);
  return table;
}

Result<PageTable> PageTable::Open(const std::string& path, const RegionMap& map, const std::string& store) {
  unique_fd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!file) return Status::FromErrno(errno, "opening the page table " + path, ErrorScope::kRegion);
  HECA_RETURN_IF_ERROR(Lock(file, path));
  struct stat info{};
  if (::fstat(file.get(), &info) != 0) return Status::FromErrno(errno, "fstat of " + path, ErrorScope::kRegion);
  const std::uint64_t size = FileBytes(map.pages()).value();
  if (static_cast<std::uint64_t>(info.st_size) != size) {
    return Status(ErrorCode::kFailedPrecondition, "the page table " + path + " has " + std::to_string(info.st_size) +
                      " bytes, the region needs " + std::to_string(size), ErrorScope::kRegion);
  }
  HECA_ASSIGN_OR_RETURN(PageTable table, Map(std::move(file), map.pages()));
  HECA_RETURN_IF_ERROR(CheckHeader(*static_cast<const TableHeader*>(table.memory_), map, store).WithContext(path));
  HECA_RETURN_IF_ERROR(table.Recount());
  return table;
}

Status PageTable::Recount() {
  std::uint64_t untouched = pages_.value();
  std::uint64_t page = 0;
  while (page < pages_.value()) {  // only where the sparse file holds data
    const auto at = static_cast<off_t>(sizeof(TableHeader) + page * sizeof(std::uint64_t));
    const off_t data = ::lseek(file_.get(), at, SEEK_DATA);
    if (data < 0) break;
    const off_t hole = ::lseek(file_.get(), data, SEEK_HOLE);
    const auto index = [](off_t offset) { return (static_cast<std::uint64_t>(offset) - sizeof(TableHeader)) / 8; };
    const std::uint64_t end = std::min(hole > data ? index(hole) : pages_.value(), pages_.value());
    for (page = index(data); page < end; ++page) {
      const std::uint64_t raw = entries_[page].load(std::memory_order_relaxed);
      if (raw == 0) continue;
      const PageEntry entry = PageEntry::Decode(raw);
      const auto state = static_cast<std::size_t>(entry.state);
      if (state >= kPageStates) {
        return Status(ErrorCode::kDataLoss, "the page table holds state " + std::to_string(state) + " for page " +
                          std::to_string(page), ErrorScope::kRegion);
      }
      --untouched;
      Add(counts_[state], 1);
      if (entry.state == PageState::kHere && entry.clean) Add(clean_, 1);
      ++touched_[page / kGroup];
    }
  }
  Add(counts_[static_cast<std::size_t>(PageState::kZero)], untouched);
  return Status();
}

PageTable::PageTable(PageTable&& other) noexcept
    : file_(std::move(other.file_)),
      memory_(std::exchange(other.memory_, nullptr)),
      memory_size_(other.memory_size_),
      entries_(std::exchange(other.entries_, nullptr)),
      pages_(other.pages_),
      changes_(std::move(other.changes_)),
      touched_(std::move(other.touched_)) {
  for (std::size_t state = 0; state < kPageStates; ++state) counts_[state].store(other.counts_[state].load());
  clean_.store(other.clean_.load());
}

PageTable::~PageTable() {
  if (memory_ != nullptr) ::munmap(memory_, memory_size_);
}

void PageTable::Move(PageIndex page, const PageEntry& next) {
  HECA_CHECK(page.value() < pages_.value());
  std::atomic<std::uint64_t>& cell = entries_[page.value()];
  const std::uint64_t raw = cell.load(std::memory_order_relaxed);
  const PageEntry now = PageEntry::Decode(raw);
  HECA_CHECK(IsLegalMove(now.state, next.state));
  const std::uint64_t next_raw = next.Encode();
  cell.store(next_raw, std::memory_order_release);
  if (((raw ^ next_raw) & ~PageEntry::kPolicyMask) != 0) changes_.Set(page);
  if ((raw == 0) != (next_raw == 0)) {
    std::uint16_t& touched = touched_[page.value() / kGroup];
    touched = static_cast<std::uint16_t>(raw == 0 ? touched + 1U : touched - 1U);
  }
  const bool was_clean = now.state == PageState::kHere && now.clean;
  const bool is_clean = next.state == PageState::kHere && next.clean;
  if (was_clean != is_clean) Add(clean_, is_clean ? 1 : ~std::uint64_t{0});
  if (now.state == next.state) return;
  // In this order: who adds up states between which a page moves never finds it in none of them.
  Add(counts_[static_cast<std::size_t>(next.state)], 1);
  Add(counts_[static_cast<std::size_t>(now.state)], ~std::uint64_t{0});
}

void PageTable::SetPolicy(PageIndex page, std::uint8_t policy) {
  PageEntry entry = Get(page);
  if (entry.policy == policy) return;
  entry.policy = policy;
  Move(page, entry);
}

PageCounts PageTable::Counts() const {
  PageCounts counts;
  for (std::size_t state = 0; state < kPageStates; ++state) {
    counts.by_state[state] = counts_[state].load(std::memory_order_relaxed);
  }
  counts.clean = clean_.load(std::memory_order_relaxed);
  return counts;
}

std::uint64_t PageTable::Resident() const { return Counts().Resident(); }

Slot PageTable::slot_mark() const { return Slot(SlotMark(*static_cast<TableHeader*>(memory_)).load()); }

void PageTable::RaiseSlotMark(Slot slot) {
  auto mark = SlotMark(*static_cast<TableHeader*>(memory_));
  if (slot.value() > mark.load(std::memory_order_relaxed)) mark.store(slot.value(), std::memory_order_release);
}

}  // namespace heca::region
