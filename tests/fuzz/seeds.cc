// SPDX-License-Identifier: LGPL-2.1-or-later
// Writes the seeds of all fuzz targets from real encodings: fuzz_seeds tests/fuzz/corpus
#include <filesystem>
#include <fstream>
#include <string_view>
#include <vector>

#include "wire/hello.h"
#include "wire/message.h"
#include "wire/rdma.h"

namespace {

using namespace heca;

void Keep(const std::filesystem::path& file, std::span<const std::byte> bytes) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

void KeepHello(const std::filesystem::path& file, Role role) {
  std::array<std::byte, wire::kHelloSize> bytes;
  wire::Hello hello{{}, LeaseId(7), Epoch(3), role};
  hello.token.fill(std::byte{0x5A});
  wire::Encode(hello, bytes);
  Keep(file, bytes);
}

void KeepReply(const std::filesystem::path& file, const wire::HelloReply& reply) {
  std::array<std::byte, wire::kHelloReplySize> bytes;
  wire::Encode(reply, bytes);
  Keep(file, bytes);
}

void KeepRequest(const std::filesystem::path& file, wire::RequestKind kind, std::size_t count) {
  std::array<std::byte, wire::kMaxRequestSize> bytes;
  const std::vector<Slot> slots(count, Slot(12345));
  Keep(file, std::span(bytes).first(wire::EncodeRequest(kind, wire::RequestId(1), slots, bytes)));
}

void KeepAnswer(const std::filesystem::path& file, const wire::Answer& answer) {
  std::array<std::byte, wire::kAnswerSize> bytes;
  wire::Encode(answer, bytes);
  Keep(file, bytes);
}

/// The first byte says to the fuzz target what follows.
void KeepRdma(const std::filesystem::path& root) {
  std::array<std::byte, 1 + wire::kRdmaHelloSize> hello{std::byte{0}};
  wire::Encode(wire::RdmaHello{{{}, LeaseId(7), Epoch(3), Role::kBulk}, {4096, 5}}, std::span(hello).subspan<1>());
  Keep(root / "hello", hello);
  std::array<std::byte, 1 + wire::kRdmaReplySize> reply{std::byte{1}};
  wire::Encode(wire::RdmaReply{{ErrorCode::kOk, 4096, 1000, 64, 64, 4 << 20, ""}, {4096, 5}, {8192, 6}},
               std::span(reply).subspan<1>());
  Keep(root / "reply", reply);
  std::array<std::byte, 1 + wire::kRdmaRefusalSize> refusal{std::byte{2}};
  wire::EncodeRefusal({ErrorCode::kPermissionDenied, 0, 0, 0, 0, 0, "unknown token"}, std::span(refusal).subspan<1>());
  Keep(root / "refusal", refusal);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::filesystem::path root = argv[1];
  KeepHello(root / "wire_hello" / "urgent", Role::kUrgent);
  KeepHello(root / "wire_hello" / "bulk", Role::kBulk);
  KeepReply(root / "wire_hello_reply" / "small-pages", {ErrorCode::kOk, 4096, 1000, 64, 64, 4 << 20, ""});
  KeepReply(root / "wire_hello_reply" / "huge-pages", {ErrorCode::kOk, 2 << 20, 16, 1, 16, 4 << 20, ""});
  KeepReply(root / "wire_hello_reply" / "refused", {ErrorCode::kPermissionDenied, 0, 0, 0, 0, 0, "unknown token"});
  KeepRequest(root / "wire_request" / "read-1", wire::RequestKind::kRead, 1);
  KeepRequest(root / "wire_request" / "write-5", wire::RequestKind::kWrite, 5);
  KeepRequest(root / "wire_request" / "write-again-63", wire::RequestKind::kWriteAgain, 63);
  KeepRequest(root / "wire_request" / "release-64", wire::RequestKind::kRelease, 64);
  KeepAnswer(root / "wire_answer" / "pages", {ErrorCode::kOk, 64, kNoSlot, wire::RequestId(1)});
  KeepAnswer(root / "wire_answer" / "done", {ErrorCode::kOk, 0, kNoSlot, wire::RequestId(2)});
  KeepAnswer(root / "wire_answer" / "failed", {ErrorCode::kDataLoss, 0, Slot(9), wire::RequestId(3)});
  KeepRdma(root / "wire_rdma");
  const auto keep_endpoint = [&](std::string_view name, std::string_view text) {
    Keep(root / "transport_endpoint" / name, std::as_bytes(std::span(text)));
  };
  keep_endpoint("ipv4", "10.1.0.3:7300");
  keep_endpoint("ipv6", "[::1]:7300");
  keep_endpoint("name", "memory-1:0");
  return 0;
}
