// SPDX-License-Identifier: LGPL-2.1-or-later
#include "wire/hello.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wire/byte_order.h"
#include "wire/limits.h"

namespace heca::wire {
namespace {

using ::testing::HasSubstr;
using HelloBytes = std::array<std::byte, kHelloSize>;
using ReplyBytes = std::array<std::byte, kHelloReplySize>;

Hello SomeHello() {
  Hello hello;
  hello.token.fill(std::byte{0xA5});
  hello.lease = LeaseId(7);
  hello.epoch = Epoch(0x1122334455667788);
  hello.role = Role::kBulk;
  return hello;
}

HelloReply SomeReply() {
  HelloReply reply;
  reply.page_size = 4096;
  reply.slot_count = 1000;
  reply.max_batch = 64;
  reply.credits = 16;
  reply.window_bytes = 4 << 20;
  return reply;
}

HelloBytes Encoded(const Hello& hello) {
  HelloBytes bytes{};
  Encode(hello, bytes);
  return bytes;
}

ReplyBytes Encoded(const HelloReply& reply) {
  ReplyBytes bytes{};
  Encode(reply, bytes);
  return bytes;
}

TEST(ByteOrder, IsLittleEndianWhateverTheMachine) {
  std::array<std::byte, 4> bytes{};
  PutLe<std::uint32_t>(bytes, 0x04030201);
  EXPECT_EQ(bytes[0], std::byte{1});
  EXPECT_EQ(bytes[3], std::byte{4});
  EXPECT_EQ(GetLe<std::uint32_t>(bytes), 0x04030201U);
}

TEST(Hello, SurvivesTheWire) {
  const auto decoded = DecodeHello(Encoded(SomeHello()));
  ASSERT_TRUE(decoded.ok()) << decoded.status().ToString();
  EXPECT_EQ(decoded->token, SomeHello().token);
  EXPECT_EQ(decoded->lease, SomeHello().lease);
  EXPECT_EQ(decoded->epoch, SomeHello().epoch);
  EXPECT_EQ(decoded->role, Role::kBulk);
}

TEST(Hello, StartsWithTheMagicAsText) {
  const HelloBytes bytes = Encoded(SomeHello());
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), 4), "HECA");
}

TEST(Hello, RefusesWrongMagicWithoutCallingItAVersion) {
  HelloBytes bytes = Encoded(SomeHello());
  bytes[0] = std::byte{'G'};
  EXPECT_EQ(DecodeHello(bytes).status().code(), ErrorCode::kInvalidArgument);
}

TEST(Hello, RefusesVersionsItDoesNotSpeakAndNamesBothRanges) {
  HelloBytes bytes = Encoded(SomeHello());
  bytes[4] = std::byte{3};
  bytes[6] = std::byte{4};
  const auto decoded = DecodeHello(bytes);
  ASSERT_EQ(decoded.status().code(), ErrorCode::kUnsupported);
  EXPECT_THAT(std::string(decoded.status().message()), HasSubstr("versions 3 to 4, this hecad 1 to 1"));
}

TEST(Hello, AcceptsANewerPeerThatStillSpeaksOurs) {
  HelloBytes bytes = Encoded(SomeHello());
  bytes[6] = std::byte{2};
  EXPECT_TRUE(DecodeHello(bytes).ok());
}

TEST(Hello, RefusesVersionZeroAndEmptyRanges) {
  HelloBytes zero = Encoded(SomeHello());
  zero[4] = std::byte{0};
  EXPECT_EQ(DecodeHello(zero).status().code(), ErrorCode::kInvalidArgument);
  HelloBytes empty = Encoded(SomeHello());
  empty[4] = std::byte{2};
  EXPECT_EQ(DecodeHello(empty).status().code(), ErrorCode::kInvalidArgument);
}

TEST(Hello, RefusesZeroAndUnknownValues) {
  Hello no_lease = SomeHello();
  no_lease.lease = LeaseId(0);
  EXPECT_FALSE(DecodeHello(Encoded(no_lease)).ok());
  Hello no_epoch = SomeHello();
  no_epoch.epoch = Epoch(0);
  EXPECT_FALSE(DecodeHello(Encoded(no_epoch)).ok());
  for (const std::uint8_t role : std::array<std::uint8_t, 3>{0, 3, 255}) {
    HelloBytes bytes = Encoded(SomeHello());
    bytes[40] = std::byte{role};
    EXPECT_FALSE(DecodeHello(bytes).ok()) << "role " << int{role};
  }
  HelloBytes reserved = Encoded(SomeHello());
  reserved[63] = std::byte{1};
  EXPECT_FALSE(DecodeHello(reserved).ok());
}

TEST(HelloReply, SurvivesTheWire) {
  const auto decoded = DecodeHelloReply(Encoded(SomeReply()));
  ASSERT_TRUE(decoded.ok()) << decoded.status().ToString();
  EXPECT_EQ(decoded->code, ErrorCode::kOk);
  EXPECT_EQ(decoded->page_size, 4096U);
  EXPECT_EQ(decoded->slot_count, 1000U);
  EXPECT_EQ(decoded->max_batch, 64);
  EXPECT_EQ(decoded->credits, 16);
  EXPECT_EQ(decoded->window_bytes, 4U << 20);
}

TEST(HelloReply, CarriesARefusalWithItsText) {
  HelloReply refusal;
  refusal.code = ErrorCode::kPermissionDenied;
  refusal.text = "token is used\nup";
  const auto decoded = DecodeHelloReply(Encoded(refusal));
  ASSERT_TRUE(decoded.ok()) << decoded.status().ToString();
  EXPECT_EQ(decoded->code, ErrorCode::kPermissionDenied);
  EXPECT_EQ(decoded->text, "token is used?up");
}

TEST(HelloReply, CutsTextThatIsTooLong) {
  HelloReply refusal;
  refusal.code = ErrorCode::kInternal;
  refusal.text = std::string(500, 'x');
  const auto decoded = DecodeHelloReply(Encoded(refusal));
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded->text.size(), kMaxTextLength);
}

TEST(HelloReply, RefusesParametersThatWouldSizeOurBuffers) {
  const auto expect_refused = [](auto change) {
    HelloReply reply = SomeReply();
    change(reply);
    EXPECT_FALSE(DecodeHelloReply(Encoded(reply)).ok());
  };
  expect_refused([](HelloReply& r) { r.page_size = 0; });
  expect_refused([](HelloReply& r) { r.page_size = 4095; });
  expect_refused([](HelloReply& r) { r.page_size = 1U << 30; });
  expect_refused([](HelloReply& r) { r.slot_count = 0; });
  expect_refused([](HelloReply& r) { r.max_batch = 0; });
  expect_refused([](HelloReply& r) { r.max_batch = 65; });
  expect_refused([](HelloReply& r) { r.page_size = 2U << 20; });  // a batch of 64 of them is too much
  expect_refused([](HelloReply& r) { r.credits = 0; });
  expect_refused([](HelloReply& r) { r.credits = 60000; });
  expect_refused([](HelloReply& r) { r.window_bytes = 0; });
  expect_refused([](HelloReply& r) { r.window_bytes = 0xFFFFFFFF; });
}

TEST(HelloReply, RefusesUnknownCodesVersionsAndText) {
  ReplyBytes code = Encoded(SomeReply());
  code[10] = std::byte{14};
  EXPECT_FALSE(DecodeHelloReply(code).ok());
  ReplyBytes chosen = Encoded(SomeReply());
  chosen[8] = std::byte{2};
  EXPECT_FALSE(DecodeHelloReply(chosen).ok());
  ReplyBytes length = Encoded(SomeReply());
  length[11] = std::byte{255};
  EXPECT_FALSE(DecodeHelloReply(length).ok());
  ReplyBytes text = Encoded(SomeReply());
  text[11] = std::byte{1};
  EXPECT_FALSE(DecodeHelloReply(text).ok());
  ReplyBytes reserved = Encoded(SomeReply());
  reserved[30] = std::byte{1};
  EXPECT_FALSE(DecodeHelloReply(reserved).ok());
}

}  // namespace
}  // namespace heca::wire
