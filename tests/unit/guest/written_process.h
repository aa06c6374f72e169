// SPDX-License-Identifier: LGPL-2.1-or-later
// A process of one thread with shared memory that does what the test tells it, page by page.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/unique_fd.h"
#include "guest/fence.h"
#include "heca/types.h"

namespace heca::guest::testing {

/// Ranges of one file, in the order of `pages`, with a gap between two of them.
class WrittenProcess {
 public:
  /// Runs in the process. `memory`: of the first range.
  using Deed = void (*)(char* memory, int file, std::uint64_t a, std::uint64_t b);

  explicit WrittenProcess(const std::vector<std::uint64_t>& pages, unique_fd file = {}, Bytes page_size = kBasePage)
      : file_(std::move(file)), page_(page_size.value()) {
    std::uint64_t total = 0;
    for (const std::uint64_t count : pages) total += count * page_;
    if (!file_) file_.reset(::memfd_create("ram", MFD_CLOEXEC));
    HECA_CHECK(file_.valid() && ::ftruncate(file_.get(), static_cast<off_t>(total)) == 0);
    void* shared = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    HECA_CHECK(shared != MAP_FAILED);
    order_ = new (shared) Order;
    // Address space first, aligned to huge pages, so that the ranges have their places in both processes.
    const std::size_t space = total + (pages.size() + 1) * kHugePage.value();
    void* reserved = ::mmap(nullptr, space, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    HECA_CHECK(reserved != MAP_FAILED);
    constexpr std::uint64_t kAlign = kHugePage.value();
    std::uint64_t at = (reinterpret_cast<std::uintptr_t>(reserved) + kAlign - 1) / kAlign * kAlign;
    off_t offset = 0;
    for (const std::uint64_t count : pages) {
      const std::size_t size = count * page_;
      HECA_CHECK(::mmap(reinterpret_cast<void*>(at), size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file_.get(),
                        offset) != MAP_FAILED);
      ram_.push_back({os::TargetAddress(at), Bytes(size)});
      offset += static_cast<off_t>(size);
      at += (size + kAlign) / kAlign * kAlign;
    }
    pid_ = ::fork();
    HECA_CHECK(pid_ >= 0);
    if (pid_ == 0) Obey();
    ::munmap(reserved, space);  // this process has the file only
  }
  ~WrittenProcess() {
    Kill();
    ::munmap(order_, 4096);
  }
  WrittenProcess(const WrittenProcess&) = delete;
  WrittenProcess& operator=(const WrittenProcess&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] const std::vector<AddressRange>& ram() const { return ram_; }
  [[nodiscard]] int file() const { return file_.get(); }
  [[nodiscard]] char* memory() const { return reinterpret_cast<char*>(ram_[0].address.value()); }

  /// A write that changes the byte.
  static void Touch(char* byte) {
    auto* const at = const_cast<volatile char*>(byte);
    *at = static_cast<char>(*at + 1);
  }

  void Begin(Deed deed, std::uint64_t a = 0, std::uint64_t b = 0) {
    order_->deed = deed;
    order_->a = a;
    order_->b = b;
    order_->given.fetch_add(1);
  }
  bool Done(Nanos within = std::chrono::seconds(20)) const {
    const Deadline deadline = Deadline::After(within);
    while (order_->done.load() != order_->given.load()) {
      if (deadline.Passed()) return false;
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    return true;
  }
  void Do(Deed deed, std::uint64_t a = 0, std::uint64_t b = 0) {
    Begin(deed, a, b);
    EXPECT_TRUE(Done()) << "the process does not do what it is told";
  }
  /// Writes a byte to pages [first, end) of the first range, every `step`th.
  void Write(std::uint64_t first, std::uint64_t end, std::uint64_t step = 1) {
    order_->step = step * page_;
    Do([](char* memory, int, std::uint64_t from, std::uint64_t to) {
      for (std::uint64_t at = from; at < to; at += Here().step) Touch(memory + at);
    }, first * page_, end * page_);
  }
  void Write(std::uint64_t page) { Write(page, page + 1); }

  void Kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  struct Order {
    std::atomic<std::uint64_t> given{0};
    std::atomic<std::uint64_t> done{0};
    Deed deed = nullptr;
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    std::uint64_t step = 0;
  };
  static Order*& Obeyed() {
    static Order* order = nullptr;
    return order;
  }
  static Order& Here() { return *Obeyed(); }

  [[noreturn]] void Obey() {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    Obeyed() = order_;
    for (;;) {
      while (order_->given.load() == order_->done.load()) ::usleep(50);
      order_->deed(memory(), file_.get(), order_->a, order_->b);
      order_->done.fetch_add(1);
    }
  }

  unique_fd file_;
  const std::uint64_t page_;
  Order* order_ = nullptr;
  std::vector<AddressRange> ram_;
  pid_t pid_ = -1;
};

}  // namespace heca::guest::testing
