// SPDX-License-Identifier: LGPL-2.1-or-later
#include "domain/metadata.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "samples.h"

namespace heca::domain {
namespace {

using namespace heca::testing;
using ::testing::HasSubstr;

TEST(Metadata, MentionsHecaIsALookForTheNamespace) {
  EXPECT_TRUE(MentionsHeca(Small(Metadata(""))));
  EXPECT_FALSE(MentionsHeca(""));
  for (const char* name : kSamples) EXPECT_FALSE(MentionsHeca(Sample(name))) << name;
}

TEST(Metadata, ReadsEveryPart) {
  const auto read =
      ReadMetadata(Small(Metadata(" ratio='1:3' replicas='2' migration='post-copy' transport='rdma'")));
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->domain, "vm1");
  EXPECT_EQ(read->uuid, "11111111-2222-3333-4444-555555555555");
  EXPECT_EQ(read->size.value(), 512ULL << 20);
  EXPECT_EQ(read->wish.ratio, (Ratio{1, 3}));
  EXPECT_FALSE(read->wish.local);
  EXPECT_EQ(read->wish.replicas, 2U);
  EXPECT_EQ(read->wish.migration, MigrationMode::kPostCopy);
  EXPECT_EQ(read->wish.transport, TransportChoice::kRdma);
}

TEST(Metadata, EveryPartMayBeLeftOpen) {
  const auto read = ReadMetadata(Small(Metadata("")));
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->wish, MemoryWish{});
}

TEST(Metadata, AnyPrefixAndNone) {
  for (const char* element :
       {"<x:memory xmlns:x='https://hecatonchire.org/xmlns/1' local='1.5GiB'/>",
        "<memory xmlns=\"https://hecatonchire.org/xmlns/1\" local=\"1536MiB\"/>",
        "<heca:memory xmlns:heca='https://hecatonchire.org/xmlns/1' local='1610612736'></heca:memory>"}) {
    const auto read = ReadMetadata(Small(std::string("<metadata><a/>") + element + "</metadata>"));
    ASSERT_TRUE(read.ok()) << element << ": " << read.status().message();
    EXPECT_EQ(read->wish.local.value().value(), 3ULL << 29) << element;
  }
  const auto outer = ReadMetadata(
      "<domain type='kvm' xmlns:h='https://hecatonchire.org/xmlns/1'><name>a</name><memory>4</memory>"
      "<metadata><h:memory migration='hybrid'/></metadata></domain>");
  ASSERT_TRUE(outer.ok()) << outer.status().message();
  EXPECT_EQ(outer->wish.migration, MigrationMode::kHybrid);
  EXPECT_EQ(outer->uuid, "");
  EXPECT_EQ(outer->size.value(), 4096U);
}

TEST(Metadata, OnlyBelowMetadataAndOnlyInItsNamespace) {
  for (const std::string& xml :
       {Sample("nova.xml"),  // <nova:memory> is another one
        Small("<heca:memory xmlns:heca='https://hecatonchire.org/xmlns/1' ratio='1:3'/>"),
        Small("<metadata><heca:memory xmlns:heca='https://hecatonchire.org/xmlns/2' ratio='1:3'/></metadata>"),
        Small("<metadata><heca:memory xmlns:heca='https://hecatonchire.org/xmlns/1/' /></metadata>")}) {
    const auto read = ReadMetadata(xml);
    ASSERT_FALSE(read.ok());
    EXPECT_EQ(read.status().code(), ErrorCode::kNotFound);
    EXPECT_THAT(std::string(read.status().message()), HasSubstr("no <heca:memory> in its <metadata>; hecactl xml"));
  }
}

TEST(Metadata, SaysWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {" ration='1:3'",
       "domain 'vm1': <heca:memory> in its metadata: unknown attribute 'ration', did you mean 'ratio'?"},
      {" colour='blue'", "unknown attribute 'colour'; known are ratio, local, replicas, migration, transport"},
      {" ratio='3'", "ratio: '3' is not a ratio"},
      {" local='2GB'", "local: '2GB' is not a size"},
      {" local='0'", "local: some memory has to stay here"},
      {" ratio='1:3' local='2GiB'", "ratio 1:3 and local 2GiB exclude each other"},
      {" replicas='0'", "replicas: '0' is not a whole number from 1 to 8"},
      {" replicas='two'", "replicas: 'two' is not a whole number"},
      {" replicas='2 '", "replicas: '2 ' is not a whole number"},
      {" migration='postcopy'", "migration: 'postcopy' is not post-copy, hybrid, pre-copy"},
      {" transport='ib'", "transport: 'ib' is not auto, tcp, rdma"},
  };
  for (const auto& [attributes, text] : cases) {
    const auto read = ReadMetadata(Small(Metadata(attributes)));
    ASSERT_FALSE(read.ok()) << attributes;
    EXPECT_EQ(read.status().code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(std::string(read.status().message()), HasSubstr(text));
  }
}

TEST(Metadata, UnitsAreThoseOfLibvirt) {
  const std::pair<const char*, std::uint64_t> cases[] = {
      {"<memory>1024</memory>", 1 << 20},
      {"<memory unit='b'>4096</memory>", 4096},
      {"<memory unit='KB'>4000</memory>", 4000000},
      {"<memory unit='k'>\n 4 </memory>", 4096},
      {"<memory unit='G' dumpCore='off'>2</memory>", 2ULL << 30},
      {"<memory unit='TiB'>1</memory>", 1ULL << 40}};
  for (const auto& [memory, size] : cases) {
    const auto read =
        ReadMetadata(std::string("<domain type='kvm'><name>a</name>") + memory + Metadata("") + "</domain>");
    ASSERT_TRUE(read.ok()) << memory << read.status().message();
    EXPECT_EQ(read->size.value(), size) << memory;
  }
  for (const char* memory : {"<memory>much</memory>", "<memory>0</memory>", "<memory unit='PiB'>1</memory>", "",
                             "<memory unit='TiB'>99999999999</memory>", "<memory>1</memory><memory>1</memory>"}) {
    EXPECT_EQ(ReadMetadata(std::string("<domain type='kvm'><name>a</name>") + memory + Metadata("") + "</domain>")
                  .status().code(),
              ErrorCode::kInvalidArgument) << memory;
  }
}

TEST(Metadata, WhatIsNoDomain) {
  const std::string deep = [] {
    std::string text;
    for (int i = 0; i < 100000; ++i) text += "<a>";
    for (int i = 0; i < 100000; ++i) text += "</a>";
    return text;
  }();
  const std::pair<std::string, const char*> cases[] = {
      {"", "only blanks"},
      {" \n", "only blanks"},
      {"<domain type='kvm'>\n<name>a</nam>\n</domain>", "line 2: this is no XML"},
      {"error: failed to get domain 'x'", "text outside of <domain>"},
      {"<network><name>default</name></network>", "this is <network>; the XML of a <domain> is needed"},
      {"<!-- nothing -->", "there is no <domain> in it"},
      {"<domain/><domain/>", "there is a second element, <domain>"},
      {"<!DOCTYPE domain [<!ENTITY a 'b'>]><domain/>", "no document type"},
      {std::string("<domain/>\0", 10), "zero byte"},
      {Small(deep), "nested deeper than 64"},
      {std::string(5 << 20, ' '), "5242880 bytes are no domain XML"},
      {"<domain type='kvm'><memory>1</memory></domain>", "the domain has no <name>"},
      {"<domain type='kvm'><name>../x</name><memory>1</memory></domain>", "'../x' has a '/'"},
      {"<domain type='kvm'><name>x</name><uuid>../../etc</uuid></domain>", "<uuid>../../etc</uuid> is no UUID"},
      {Small("<a:b:c xmlns:a='x'/>"), "'a:b:c' is no name"},
      {Small("<x a:b:c='1' xmlns:a='x'/>"), "'a:b:c' is no name"},
      {Small("\xC3("), "not in UTF-8"},
      {Small("<x a='1' b='2' a='3'/>"), "attribute 'a' of <x> is there twice"},
      {Small("<qemu:commandline/>"), "the prefix of <qemu:commandline> is not declared, so that it means nothing"},
      {Small(Metadata("") + Metadata("")), "<domain> has more than one <metadata>"},
  };
  for (const auto& [xml, text] : cases) {
    const auto read = ReadMetadata(xml);
    ASSERT_FALSE(read.ok()) << text;
    EXPECT_EQ(read.status().code(), ErrorCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(read.status().message()), HasSubstr(text));
  }
}

TEST(Wish, NewerPartsGoOverOlderOnes) {
  MemoryWish older;
  older.local = Bytes(1 << 30);
  older.replicas = 2;
  MemoryWish newer;
  newer.ratio = Ratio{1, 1};
  newer.migration = MigrationMode::kPreCopy;
  const MemoryWish merged = Merge(older, newer);
  EXPECT_EQ(merged.ratio, newer.ratio);
  EXPECT_FALSE(merged.local);
  EXPECT_EQ(merged.replicas, 2U);
  EXPECT_EQ(merged.migration, MigrationMode::kPreCopy);
  EXPECT_FALSE(merged.transport);
  EXPECT_EQ(Merge(older, {}), older);
}

TEST(Wish, Words) {
  EXPECT_EQ(ToString(MigrationMode::kHybrid), "hybrid");
  EXPECT_EQ(ToString(MigrationMode::kInvalid), "");
}

}  // namespace
}  // namespace heca::domain
