// SPDX-License-Identifier: LGPL-2.1-or-later
// What logging the writes of a process costs (guest/write_log.h), for both kinds, on 4 KiB pages of a shared tmpfs
// file:
//   start    StartWriteLog of memory that is all there
//   collect  Collect with nothing, 1/64 scattered, and all of it written since the last one
//   final    the same without arming, of memory with nothing written
//   write    the first write to each page after an arm, in order; and with nothing armed
//   stop
// Boundaries: calls by wall time in this process; writes by the clock of the writing process, over all pages. The least
// of all rounds: the machine may be busy with other work.
// Usage: guest_bench [--mib N] [--rounds N]
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include "base/check.h"
#include "guest/write_log.h"
#include "os/probe_uffd.h"

namespace heca::guest {
namespace {

template <class T>
T Ok(Result<T> result) {
  if (result.ok()) return std::move(*result);
  fmt::print(stderr, "guest_bench: {}\n", result.status().ToString());
  std::exit(1);
}

double MillisSince(Clock::time_point began) {
  return std::chrono::duration<double, std::milli>(Clock::now() - began).count();
}

/// A process that writes every `step`th of its pages when it is told, and says how long it took.
class Writer {
 public:
  explicit Writer(std::uint64_t pages) : pages_(pages) {
    const unique_fd file(::memfd_create("ram", MFD_CLOEXEC));
    HECA_CHECK(file.valid() && ::ftruncate(file.get(), static_cast<off_t>(pages * 4096)) == 0);
    void* const memory = ::mmap(nullptr, pages * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    void* const order = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    HECA_CHECK(memory != MAP_FAILED && order != MAP_FAILED);
    memory_ = static_cast<volatile char*>(memory);
    order_ = new (order) Order;
    pid_ = ::fork();
    HECA_CHECK(pid_ >= 0);
    if (pid_ == 0) Obey();
  }
  ~Writer() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] AddressRange ram() const {
    return {os::TargetAddress(reinterpret_cast<std::uintptr_t>(memory_)), Bytes(pages_ * 4096)};
  }
  /// Microseconds a page.
  double Write(std::uint64_t step) {
    order_->step = step;
    while (order_->step.load() != 0) ::usleep(100);
    return order_->micros * static_cast<double>(step) / static_cast<double>(pages_);
  }

 private:
  struct Order {
    std::atomic<std::uint64_t> step{0};
    double micros = 0;
  };
  [[noreturn]] void Obey() {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
      while (order_->step.load() == 0) ::usleep(100);
      const Clock::time_point began = Clock::now();
      for (std::uint64_t page = 0; page < pages_; page += order_->step) memory_[page * 4096] = static_cast<char>(page);
      order_->micros = MillisSince(began) * 1000;
      order_->step = 0;
    }
  }

  const std::uint64_t pages_;
  volatile char* memory_ = nullptr;
  Order* order_ = nullptr;
  pid_t pid_ = -1;
};

class Least {
 public:
  void Note(const std::string& what, double value) {
    const auto [found, fresh] = least_.try_emplace(what, value);
    if (!fresh) found->second = std::min(found->second, value);
  }
  void Print(std::string_view kind) const {
    for (const auto& [what, value] : least_) fmt::print("{:5} {:24} {:9.3f}\n", kind, what, value);
  }

 private:
  std::map<std::string, double> least_;
};

void Measure(WriteLogKind kind, std::uint64_t pages, int rounds) {
  const os::UffdAbilities abilities = Ok(os::ProbeUffd());
  Writer writer(pages);
  writer.Write(1);
  Least least;
  const double per_gib = 262144.0 / static_cast<double>(pages);
  for (int round = 0; round < rounds; ++round) {
    least.Note("write unarmed us", writer.Write(1));
    Clock::time_point began = Clock::now();
    const auto log = Ok(StartWriteLog(writer.pid(), nullptr, {writer.ram()}, kBasePage, abilities, kind,
                                      Deadline::After(std::chrono::seconds(30))));
    least.Note("start ms/GiB", MillisSince(began) * per_gib);
    const auto collect = [&](const char* what) {
      began = Clock::now();
      (void)Ok(log->Collect());
      least.Note(what, MillisSince(began) * per_gib);
    };
    collect("collect clean ms/GiB");
    began = Clock::now();
    (void)Ok(log->Final());
    least.Note("final clean ms/GiB", MillisSince(began) * per_gib);
    writer.Write(64);
    collect("collect 1/64 ms/GiB");
    least.Note("write armed us", writer.Write(1));
    collect("collect all ms/GiB");
    began = Clock::now();
    HECA_CHECK(log->Stop(Deadline::After(std::chrono::seconds(30))).ok());
    least.Note("stop ms/GiB", MillisSince(began) * per_gib);
  }
  least.Print(ToString(kind));
}

}  // namespace
}  // namespace heca::guest

int main(int argc, char** argv) {
  std::uint64_t mib = 1024;
  int rounds = 10;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--mib") mib = std::strtoull(argv[i + 1], nullptr, 10);
    if (name == "--rounds") rounds = std::atoi(argv[i + 1]);
  }
  for (const auto kind : {heca::guest::WriteLogKind::kAsync, heca::guest::WriteLogKind::kSync}) {
    heca::guest::Measure(kind, mib * 256, rounds);
  }
  return 0;
}
