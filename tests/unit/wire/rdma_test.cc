// SPDX-License-Identifier: LGPL-2.1-or-later
#include "wire/rdma.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

namespace heca::wire {
namespace {

RdmaHello SomeHello() {
  RdmaHello hello;
  hello.hello = {{}, LeaseId(7), Epoch(0x1122334455667788), Role::kUrgent};
  hello.hello.token.fill(std::byte{0xA5});
  hello.pulse = {0x7F0012345678, 0xCAFE};
  return hello;
}

RdmaReply SomeReply() {
  RdmaReply reply;
  reply.reply = {ErrorCode::kOk, 4096, 1000, 64, 16, 4 << 20, ""};
  reply.pulse = {0x7F0000000001, 1};
  reply.directory = {0x7F0000000002, 2};
  return reply;
}

template <std::size_t N, class Value>
std::vector<std::byte> Encoded(const Value& value) {
  std::array<std::byte, N> bytes{};
  Encode(value, bytes);
  return {bytes.begin(), bytes.end()};
}

std::vector<std::byte> Padded(std::vector<std::byte> bytes, std::size_t size) {
  bytes.resize(size);
  return bytes;
}

TEST(RdmaHello, SurvivesTheWirePaddedOrNot) {
  const auto bytes = Encoded<kRdmaHelloSize>(SomeHello());
  for (const std::size_t size : {kRdmaHelloSize, std::size_t{196}}) {
    const auto decoded = DecodeRdmaHello(Padded(bytes, size));
    ASSERT_TRUE(decoded.ok()) << decoded.status().ToString();
    EXPECT_EQ(decoded->hello.token, SomeHello().hello.token);
    EXPECT_EQ(decoded->hello.epoch, SomeHello().hello.epoch);
    EXPECT_EQ(decoded->hello.role, Role::kUrgent);
    EXPECT_EQ(decoded->pulse, SomeHello().pulse);
  }
}

TEST(RdmaHello, IsRefusedIfItIsShorterOrSaysMore) {
  auto bytes = Encoded<kRdmaHelloSize>(SomeHello());
  EXPECT_FALSE(DecodeRdmaHello(std::span(bytes).first(kRdmaHelloSize - 1)).ok());
  EXPECT_FALSE(DecodeRdmaHello({}).ok());
  bytes = Padded(bytes, 60);
  bytes.back() = std::byte{1};
  EXPECT_FALSE(DecodeRdmaHello(bytes).ok());
  bytes = Encoded<kRdmaHelloSize>(SomeHello());
  bytes[42] = std::byte{1};  // reserved
  EXPECT_FALSE(DecodeRdmaHello(bytes).ok());
}

TEST(RdmaReply, SurvivesTheWirePaddedOrNot) {
  const auto bytes = Encoded<kRdmaReplySize>(SomeReply());
  for (const std::size_t size : {kRdmaReplySize, std::size_t{196}}) {
    const auto decoded = DecodeRdmaReply(Padded(bytes, size));
    ASSERT_TRUE(decoded.ok()) << decoded.status().ToString();
    EXPECT_EQ(decoded->reply.page_size, 4096U);
    EXPECT_EQ(decoded->reply.credits, 16U);
    EXPECT_EQ(decoded->pulse, SomeReply().pulse);
    EXPECT_EQ(decoded->directory, SomeReply().directory);
  }
}

TEST(RdmaReply, ThatRefusesIsNone) {
  RdmaReply reply = SomeReply();
  reply.reply.code = ErrorCode::kPermissionDenied;
  EXPECT_FALSE(DecodeRdmaReply(Encoded<kRdmaReplySize>(reply)).ok());
  auto bytes = Encoded<kRdmaReplySize>(SomeReply());
  bytes.back() = std::byte{1};
  EXPECT_FALSE(DecodeRdmaReply(bytes).ok());
  EXPECT_FALSE(DecodeRdmaReply(std::span(bytes).first(kRdmaReplySize - 1)).ok());
}

TEST(RdmaRefusal, KeepsWhatFitsOfItsText) {
  HelloReply refusal;
  refusal.code = ErrorCode::kPermissionDenied;
  for (const std::size_t length : {std::size_t{5}, std::size_t{84}, kMaxTextLength}) {
    refusal.text = std::string(length, 'x');
    std::array<std::byte, kRdmaRefusalSize> bytes{};
    EncodeRefusal(refusal, bytes);
    const auto decoded = DecodeRefusal(bytes);
    ASSERT_TRUE(decoded.ok()) << decoded.status().ToString();
    EXPECT_EQ(decoded->code, ErrorCode::kPermissionDenied);
    EXPECT_EQ(decoded->text, refusal.text.substr(0, 84));
    EXPECT_FALSE(DecodeRefusal(std::span(bytes).first(kRdmaRefusalSize - 1)).ok());
  }
}

TEST(RdmaDirectory, SurvivesTheWire) {
  std::array<std::byte, kDirectoryHeaderSize> header{};
  EncodeDirectoryCount(4096, header);
  EXPECT_EQ(DecodeDirectoryCount(header).value(), 4096U);
  EncodeDirectoryCount(4097, header);
  EXPECT_FALSE(DecodeDirectoryCount(header).ok());

  const DirectoryEntry entry{Slot(0xFFFFFFFF), 1, {1, 2}, {3, 4}};
  std::array<std::byte, kDirectoryEntrySize> bytes{};
  Encode(entry, bytes);
  ASSERT_TRUE(DecodeDirectoryEntry(bytes).ok());
  EXPECT_EQ(*DecodeDirectoryEntry(bytes), entry);
  for (const auto& [first, slots] : {std::pair{Slot(0), 1U}, std::pair{Slot(1), 0U}, std::pair{Slot(0xFFFFFFFF), 2U}}) {
    Encode(DirectoryEntry{first, slots, {}, {}}, bytes);
    EXPECT_FALSE(DecodeDirectoryEntry(bytes).ok()) << first.value() << " " << slots;
  }
}

TEST(RdmaLanding, SurvivesTheWire) {
  const RemoteMemory landing{0x1122334455667788, 0x99AABBCC};
  std::array<std::byte, kLandingSize> bytes{};
  Encode(landing, bytes);
  ASSERT_TRUE(DecodeLanding(bytes).ok());
  EXPECT_EQ(*DecodeLanding(bytes), landing);
  bytes.back() = std::byte{1};
  EXPECT_FALSE(DecodeLanding(bytes).ok()) << "reserved bytes are set";
}

}  // namespace
}  // namespace heca::wire
