// SPDX-License-Identifier: LGPL-2.1-or-later
// What a Channel costs over the bare socket. One run, everything interleaved in rounds, over TCP loopback:
//   read   one page by Channel::Read + epoll_wait + Poll, against a blocking 32 B -> 4 KiB ping-pong that answers from
//          as much memory in the same order
//   bulk   256 KiB writes and reads, several in flight, against one plain stream of 256 KiB sends, received into one
//          buffer again and again, and into as much memory as the sponsor's
// Beside the wall time, the CPU time of both ends together. Boundaries: a read is timed from the call of Read to the end of OnRead; bulk is wall time over all bytes, memory warm.
// Usage: transport_bench [--rounds N] [--cpus client,server]
#include <fmt/format.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <thread>
#include <vector>

#include "base/check.h"
#include "support/slot_memory_fake.h"
#include "transport/socket.h"
#include "transport/tcp_dialer.h"
#include "transport/tcp_server.h"

namespace heca::transport {
namespace {

constexpr std::uint32_t kPages = 16384;  // 64 MiB
constexpr std::size_t kReadsPerRound = 2000;
constexpr std::size_t kBatchBytes = 64 * 4096;
constexpr std::size_t kBatchesPerRound = kPages / 64;

void Ok(const Status& status) {
  if (status.ok()) return;
  fmt::print(stderr, "transport_bench: {}\n", status.ToString());
  std::exit(1);
}
template <class T>
T Ok(Result<T> result) {
  Ok(result.status());
  return std::move(*result);
}

void PinTo(int cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  HECA_CHECK(::sched_setaffinity(0, sizeof set, &set) == 0);
}

void SetBlocking(int fd) { HECA_CHECK(::fcntl(fd, F_SETFL, 0) == 0); }

/// A connected pair of tuned TCP sockets, blocking.
struct Pair {
  Pair() {
    const unique_fd listener = Ok(ListenTcp({"127.0.0.1", 0}, 1));
    client = Ok(ConnectTcp(LocalEndpoint(listener.get()), Deadline::After(Millis(1000))));
    server.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    Ok(TuneTcp(server.get()));
    SetBlocking(client.get());
  }
  unique_fd client;
  unique_fd server;
};

void SendBytes(int fd, const std::byte* bytes, std::size_t size) {
  HECA_CHECK(::send(fd, bytes, size, MSG_NOSIGNAL) == static_cast<ssize_t>(size));
}
bool ReceiveBytes(int fd, std::byte* bytes, std::size_t size) {
  return ::recv(fd, bytes, size, MSG_WAITALL) == static_cast<ssize_t>(size);
}

struct Sink final : ChannelSink {
  void OnRead(OpTag, const Status& status, std::span<const std::byte>) override { Count(status); }
  void OnWritten(OpTag, const Status& status) override { Count(status); }
  void OnReleased(OpTag, const Status& status) override { Count(status); }
  void Count(const Status& status) {
    Ok(status);
    ++done;
  }
  std::size_t done = 0;
};

/// A channel and the epoll descriptor of its owner's loop.
struct Client {
  Client(std::unique_ptr<Channel> opened) : channel(std::move(opened)), epoll(::epoll_create1(EPOLL_CLOEXEC)) {
    epoll_event event{asked, {nullptr}};
    HECA_CHECK(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, channel->Need().fd, &event) == 0);
  }
  void Wait() {
    const PollNeed need = channel->Need();
    epoll_event event{need.events, {nullptr}};
    if (need.events != asked) HECA_CHECK(::epoll_ctl(epoll.get(), EPOLL_CTL_MOD, need.fd, &event) == 0);
    asked = need.events;
    HECA_CHECK(::epoll_wait(epoll.get(), &event, 1, -1) == 1);
    Ok(channel->Poll(sink));
  }
  std::unique_ptr<Channel> channel;
  unique_fd epoll;
  std::uint32_t asked = EPOLLIN;
  Sink sink;
};

double Percentile(std::vector<double>& values, double q) {
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(q * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

double Micros(Clock::time_point from) { return std::chrono::duration<double, std::micro>(Clock::now() - from).count(); }
/// CPU time of the whole process, both ends, in microseconds: what a busy machine does not blur.
double CpuMicros() {
  timespec now{};
  HECA_CHECK(::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

/// Wall and CPU time of one kind of work, collected over the rounds.
struct Measured {
  std::vector<double> wall;  ///< microseconds an operation, or MB/s
  std::vector<double> cpu;   ///< microseconds an operation, or a MiB
  template <class Work>
  void Run(double operations, Work work) {
    const double before = CpuMicros();
    work(wall);
    cpu.push_back((CpuMicros() - before) / operations);
  }
  void Clear() {
    wall.clear();
    cpu.clear();
  }
};

double MBps(std::size_t bytes, Clock::time_point from) { return static_cast<double>(bytes) / Micros(from); }

void TimeBareReads(int fd, std::vector<double>& out) {
  std::vector<std::byte> page(4096);
  for (std::size_t i = 0; i < kReadsPerRound; ++i) {
    const auto start = Clock::now();
    SendBytes(fd, page.data(), 32);
    HECA_CHECK(ReceiveBytes(fd, page.data(), 4096));
    out.push_back(Micros(start));
  }
}

void TimeReads(Client& client, std::vector<double>& out) {
  for (std::size_t i = 0; i < kReadsPerRound; ++i) {
    const Slot slot(static_cast<std::uint32_t>(i * 37 % kPages + 1));
    const auto start = Clock::now();
    Ok(client.channel->Read(OpTag(1), std::span(&slot, 1)));
    for (const std::size_t before = client.sink.done; client.sink.done == before;) client.Wait();
    out.push_back(Micros(start));
  }
}

/// Starts an operation for every batch, polling when there are no credits; ends when all are done.
template <class Start>
void RunBatches(Client& client, Start start) {
  const std::size_t target = client.sink.done + kBatchesPerRound;
  std::vector<Slot> slots(64);
  for (std::size_t batch = 0; batch < kBatchesPerRound; ++batch) {
    for (std::size_t i = 0; i < 64; ++i) slots[i] = Slot(static_cast<std::uint32_t>(batch * 64 + i + 1));
    for (Status started = start(slots); !started.ok(); started = start(slots)) {
      if (started.code() != ErrorCode::kBusy) Ok(started);
      client.Wait();
    }
  }
  while (client.sink.done != target) client.Wait();
}

void Stream(int from, int to, const std::vector<std::byte>& bytes, std::vector<std::byte>& landing) {
  std::thread sender([&] {
    for (std::size_t i = 0; i < kBatchesPerRound; ++i) SendBytes(from, bytes.data(), kBatchBytes);
  });
  for (std::size_t i = 0; i < kBatchesPerRound; ++i) {
    HECA_CHECK(ReceiveBytes(to, landing.data() + i * kBatchBytes % landing.size(), kBatchBytes));
  }
  sender.join();
}

int Main(int rounds, int client_cpu, int server_cpu) {
  test_support::FakeAdmission admission;
  const auto memory = std::make_shared<test_support::FakeSlotMemory>(kBasePage, kPages, Epoch(1));
  PinTo(server_cpu);  // inherited by the threads that are started now
  TcpServerOptions options;
  options.listen = {"127.0.0.1", 0};
  const auto server = Ok(TcpServer::Create(options, admission));
  Pair ping;
  std::thread pong([&] {
    std::vector<std::byte> pages(std::size_t{kPages} * 4096);
    std::vector<std::byte> request(32);
    for (std::size_t i = 0; ReceiveBytes(ping.server.get(), request.data(), 32); ++i) {
      SendBytes(ping.server.get(), pages.data() + i * 37 % kPages * 4096, 4096);
    }
  });
  PinTo(client_cpu);
  TcpDialer dialer;
  const auto dial = [&](Role role) {
    return Ok(dialer.Dial(server->endpoint(), admission.Expect(LeaseId(1), Epoch(1), role, memory),
                          Deadline::After(Millis(2000))));
  };
  Client urgent(dial(Role::kUrgent));
  Client bulk(dial(Role::kBulk));
  Pair stream;

  const std::vector<std::byte> bytes(kBatchBytes, std::byte{0x5A});
  std::vector<std::byte> hot(kBatchBytes);
  std::vector<std::byte> cold(std::size_t{kPages} * 4096);
  Measured bare, read, plain, spread, written, fetched;
  const double mib = kBatchBytes * kBatchesPerRound / 1048576.0;
  const auto timed = [](auto work) {
    return [work](std::vector<double>& out) {
      const auto start = Clock::now();
      work();
      out.push_back(MBps(kBatchBytes * kBatchesPerRound, start));
    };
  };
  for (int round = 0; round <= rounds; ++round) {
    plain.Run(mib, timed([&] { Stream(stream.client.get(), stream.server.get(), bytes, hot); }));
    spread.Run(mib, timed([&] { Stream(stream.client.get(), stream.server.get(), bytes, cold); }));
    written.Run(mib, timed([&] {
      RunBatches(bulk, [&](auto& slots) { return bulk.channel->Write(OpTag(1), slots, bytes, Attempt::kFirst); });
    }));
    fetched.Run(mib, timed([&] {
      RunBatches(bulk, [&](auto& slots) { return bulk.channel->Read(OpTag(1), slots); });
    }));
    bare.Run(kReadsPerRound, [&](auto& out) { TimeBareReads(ping.client.get(), out); });
    read.Run(kReadsPerRound, [&](auto& out) { TimeReads(urgent, out); });
    RunBatches(bulk, [&](auto& slots) { return bulk.channel->Release(OpTag(1), slots); });
    if (round == 0) {  // warm-up
      for (auto* const values : {&bare, &read, &plain, &spread, &written, &fetched}) values->Clear();
    }
  }
  ping.client.reset();
  pong.join();

  const auto row = [](const char* name, Measured& work, Measured& base) {
    const double p50 = Percentile(work.wall, 0.5);
    const double cpu = Percentile(work.cpu, 0.5);
    fmt::print("{:28} {:9.2f} {:9.2f} {:7.3f} {:9.2f} {:7.3f}\n", name, p50, Percentile(work.wall, 0.99),
               p50 / Percentile(base.wall, 0.5), cpu, cpu / Percentile(base.cpu, 0.5));
  };
  fmt::print("{:28} {:>9} {:>9} {:>7} {:>9} {:>7}\n", "one page, us", "p50", "p99", "ratio", "cpu us", "ratio");
  row("bare TCP 32 B -> 4 KiB", bare, bare);
  row("Channel::Read", read, bare);
  fmt::print("{:28} {:>9} {:>9} {:>7} {:>9} {:>7}\n", "bulk, MB/s", "p50", "p99", "ratio", "us/MiB", "ratio");
  row("plain stream", plain, plain);
  row("plain, landing over 64 MiB", spread, plain);
  row("Channel::Write", written, plain);
  row("Channel::Read, 64 pages", fetched, plain);
  return 0;
}

}  // namespace
}  // namespace heca::transport

int main(int argc, char** argv) {
  int rounds = 10;
  int client_cpu = -1;
  int server_cpu = -1;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--rounds") rounds = std::atoi(argv[i + 1]);
    if (name == "--cpus" && std::sscanf(argv[i + 1], "%d,%d", &client_cpu, &server_cpu) != 2) return 2;
  }
  ::alarm(600);  // instead of a timeout for every wait, which costs a timer
  return heca::transport::Main(rounds, client_cpu, server_cpu);
}
