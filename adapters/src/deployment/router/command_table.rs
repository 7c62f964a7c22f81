//! The commands of Redis and Valkey, by what a cluster needs to know of them: data only.
//!
//! Made from the replies to `COMMAND` of Valkey 9.1.2, Redis 8.2.3, 7.0.15 and 6.2.5: key specifications, the flag `readonly`, and
//! the tips `request_policy` and `response_policy`; where they differ, the first of these four holds. Commands of Redis 8.4 to 8.12
//! and of the modules are from the servers' descriptions of their commands, and from what clients do with them.
//! `every_command_of_a_real_server_is_routed_as_it_says` compares the table with the server at hand, and names what differs.
//!
//! Beyond what servers say:
//! - PUBSUB is put together from all nodes, and so is what differs from node to node and only reads: CONFIG GET, CLIENT LIST, ACL
//!   LOG, ROLE, LASTSAVE, CLUSTER LINKS.
//! - What changes, stops or burdens one node is for the caller to send to it.
//! - MSETEX is not split, although its tips say so: with NX or XX it sets all of its keys or none.

use crate::deployment::router::command_rule::{Access, CommandGroup, CommandRule, Gather, NodeSet, SentTo};
use crate::deployment::router::key_spec::KeySpec;

use Gather::{AllSucceeded, AnyNonNil, ByNode, ByPosition, Concatenated, LogicalAnd, Min, OneSucceeded, Sum, SummedPairs};
use KeySpec::{After, At, Counted, Migrate, SortStore, Streams, UpToEnd};
use NodeSet::{All, Primaries};
use SentTo::{AsSubcommand, ByCaller, Split, ToKeys, ToNodes, ToSlot};

/// How to ask for all keys.
pub(super) const SCAN_ALL: &str = "`RedisManager::scan` asks all nodes";
/// How to ask one node.
pub(super) const ASK_NODE: &str = "`RedisManager::get_client_of_node` gives a client of the node that is meant";

const fn read(keys: &'static [KeySpec], sent: SentTo) -> CommandRule {
    CommandRule { access: Access::Read, keys, sent }
}

const fn write(keys: &'static [KeySpec], sent: SentTo) -> CommandRule {
    CommandRule { access: Access::Write, keys, sent }
}

/// Each name is in one group.
pub(super) const GROUPS: &[CommandGroup] = &[
    CommandGroup { rule: read(&[After { word: b"KEYS", from: 2, keys: 2 }], ToKeys), names: "STRALGO" },
    CommandGroup {
        rule: read(&[At(1)], ToKeys),
        names: "
            ARCOUNT ARGET ARGETRANGE ARGREP ARINFO ARLASTITEMS ARLEN ARMGET ARNEXT AROP ARSCAN BF.CARD
            BF.DEBUG BF.EXISTS BF.INFO BF.MEXISTS BF.SCANDUMP BITCOUNT BITFIELD_RO BITPOS CF.COUNT CF.DEBUG
            CF.EXISTS CF.INFO CF.MEXISTS CF.SCANDUMP CLUSTERSCAN CMS.INFO CMS.QUERY DIGEST DUMP EXPIRETIME
            FT.SUGGET FT.SUGLEN GEODIST GEOHASH GEOPOS GEORADIUSBYMEMBER_RO GEORADIUS_RO GEOSEARCH GET GETBIT
            GETRANGE HEXISTS HEXPIRETIME HGET HGETALL HKEYS HLEN HMGET HPEXPIRETIME HPTTL HRANDFIELD HSCAN
            HSTRLEN HTTL HVALS JSON.ARRINDEX JSON.ARRLEN JSON.GET JSON.OBJKEYS JSON.OBJLEN JSON.RESP
            JSON.STRLEN JSON.TYPE LINDEX LLEN LPOS LRANGE PEXPIRETIME PTTL SCARD SEXPIRETIME SISMEMBER
            SMEMBERS SMISMEMBER SORT_RO SPEXPIRETIME SPTTL SRANDMEMBER SSCAN STRLEN STTL SUBSTR TDIGEST.BYRANK
            TDIGEST.BYREVRANK TDIGEST.CDF TDIGEST.INFO TDIGEST.MAX TDIGEST.MIN TDIGEST.QUANTILE TDIGEST.RANK
            TDIGEST.REVRANK TDIGEST.TRIMMED_MEAN TOPK.COUNT TOPK.INFO TOPK.LIST TOPK.QUERY TS.GET TS.INFO
            TS.RANGE TS.READ TS.REVRANGE TTL TYPE VCARD VDIM VEMB VGETATTR VINFO VISMEMBER VLINKS VRANDMEMBER
            VRANGE VSIM XLEN XPENDING XRANGE XREVRANGE ZCARD ZCOUNT ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE
            ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE
        ",
    },
    CommandGroup {
        rule: read(&[At(2)], ToKeys),
        names: "
            BLESS|GET JSON.DEBUG MEMORY|USAGE OBJECT|ENCODING OBJECT|FREQ OBJECT|IDLETIME OBJECT|REFCOUNT
            XINFO|CONSUMERS XINFO|GROUPS XINFO|STREAM
        ",
    },
    CommandGroup {
        rule: read(&[Counted { at: 1, step: 1 }], ToKeys),
        names: "SDIFFCARD SINTERCARD SUNIONCARD TS.NRANGE TS.NREVRANGE ZDIFF ZINTER ZINTERCARD ZUNION",
    },
    CommandGroup { rule: read(&[Counted { at: 2, step: 1 }], ToKeys), names: "EVALSHA_RO EVAL_RO FCALL_RO" },
    CommandGroup { rule: read(&[Streams { from: 1 }], ToKeys), names: "XREAD" },
    CommandGroup { rule: read(&[UpToEnd { first: 1, step: 1, without: 0 }], ToKeys), names: "PFCOUNT SDIFF SINTER SUNION" },
    CommandGroup { rule: read(&[At(1), At(2)], ToKeys), names: "LCS" },
    CommandGroup {
        rule: write(&[At(1)], ToKeys),
        names: "
            APPEND ARDEL ARDELRANGE ARINSERT ARMSET ARRING ARSEEK ARSET BF.ADD BF.INSERT BF.LOAD BF.LOADCHUNK
            BF.MADD BF.RESERVE BITFIELD CF.ADD CF.ADDNX CF.COMPACT CF.DEL CF.INSERT CF.INSERTNX CF.LOADCHUNK
            CF.RESERVE CMS.INCRBY CMS.INITBYDIM CMS.INITBYPROB DECR DECRBY DELEX DELIFEQ EXPIRE EXPIREAT
            FT.SUGADD FT.SUGDEL GCRA GEOADD GETDEL GETEX GETSET HDEL HEXPIRE HEXPIREAT HGETDEL HGETEX HINCRBY
            HINCRBYFLOAT HMSET HPERSIST HPEXPIRE HPEXPIREAT HSET HSETEX HSETNX INCR INCRBY INCRBYFLOAT INCREX
            JSON.ARRAPPEND JSON.ARRINSERT JSON.ARRPOP JSON.ARRTRIM JSON.CLEAR JSON.DEL JSON.FORGET JSON.MERGE
            JSON.NUMINCRBY JSON.NUMMULTBY JSON.NUMPOWBY JSON.SET JSON.STRAPPEND JSON.TOGGLE LINSERT LPOP LPUSH
            LPUSHX LREM LSET LTRIM MOVE PERSIST PEXPIRE PEXPIREAT PFADD PSETEX RESTORE RESTORE-ASKING RPOP
            RPUSH RPUSHX SADD SADDEX SET SETBIT SETEX SETNX SETRANGE SEXPIRE SEXPIREAT SPERSIST SPEXPIRE
            SPEXPIREAT SPOP SPUBLISH SREM TDIGEST.ADD TDIGEST.CREATE TDIGEST.RESET TOPK.ADD TOPK.INCRBY
            TOPK.RESERVE TS.ADD TS.ALTER TS.CREATE TS.DECRBY TS.DEL TS.INCRBY VADD VREM VSETATTR XACK XACKDEL
            XADD XAUTOCLAIM XCFGSET XCLAIM XDEL XDELEX XNACK XSETID XTRIM ZADD ZINCRBY ZPOPMAX ZPOPMIN ZREM
            ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE
        ",
    },
    CommandGroup {
        rule: write(&[At(2)], ToKeys),
        names: "
            BLESS|CLEAR BLESS|SET HIMPORT|SET PFDEBUG XGROUP|CREATE XGROUP|CREATECONSUMER XGROUP|DELCONSUMER
            XGROUP|DESTROY XGROUP|SETID
        ",
    },
    CommandGroup { rule: write(&[Counted { at: 1, step: 1 }], ToKeys), names: "LMPOP ZMPOP" },
    CommandGroup { rule: write(&[Counted { at: 1, step: 2 }], ToKeys), names: "MSETEX" },
    CommandGroup { rule: write(&[Counted { at: 2, step: 1 }], ToKeys), names: "BLMPOP BZMPOP EVAL EVALSHA FCALL" },
    CommandGroup { rule: write(&[Migrate], ToKeys), names: "MIGRATE" },
    CommandGroup { rule: write(&[Streams { from: 4 }], ToKeys), names: "XREADGROUP" },
    CommandGroup { rule: write(&[UpToEnd { first: 1, step: 1, without: 0 }], ToKeys), names: "SSUBSCRIBE SUNSUBSCRIBE WATCH" },
    CommandGroup { rule: write(&[UpToEnd { first: 1, step: 1, without: 1 }], ToKeys), names: "BLPOP BRPOP BZPOPMAX BZPOPMIN" },
    CommandGroup { rule: write(&[UpToEnd { first: 1, step: 2, without: 0 }], ToKeys), names: "MSETNX" },
    CommandGroup { rule: write(&[UpToEnd { first: 1, step: 3, without: 0 }], ToKeys), names: "TS.MADD" },
    CommandGroup {
        rule: write(&[At(1), At(2)], ToKeys),
        names: "
            BLMOVE BLMOVEM BRPOPLPUSH BZMOVE COPY GEOSEARCHSTORE LMOVE LMOVEM RENAME RENAMENX RPOPLPUSH SMOVE
            TS.CREATERULE TS.DELETERULE ZMOVE ZMOVEMEMBER ZRANGESTORE
        ",
    },
    CommandGroup {
        rule: write(&[At(1), Counted { at: 2, step: 1 }], ToKeys),
        names: "CMS.MERGE TDIGEST.MERGE ZDIFFSTORE ZINTERSTORE ZUNIONSTORE",
    },
    CommandGroup { rule: write(&[At(1), SortStore], ToKeys), names: "SORT" },
    CommandGroup {
        rule: write(&[At(1), UpToEnd { first: 2, step: 1, without: 0 }], ToKeys),
        names: "PFMERGE SDIFFSTORE SINTERSTORE SUNIONSTORE",
    },
    CommandGroup { rule: write(&[At(2), UpToEnd { first: 3, step: 1, without: 0 }], ToKeys), names: "BITOP" },
    CommandGroup {
        rule: write(&[At(1), After { word: b"STORE", from: 5, keys: 1 }, After { word: b"STOREDIST", from: 5, keys: 1 }], ToKeys),
        names: "GEORADIUSBYMEMBER",
    },
    CommandGroup {
        rule: write(&[At(1), After { word: b"STORE", from: 6, keys: 1 }, After { word: b"STOREDIST", from: 6, keys: 1 }], ToKeys),
        names: "GEORADIUS",
    },
    CommandGroup {
        rule: read(&[], ToKeys),
        names: "
            FT.AGGREGATE FT.ALIASLIST FT.DICTDUMP FT.EXPLAIN FT.EXPLAINCLI FT.GET FT.HYBRID FT.INFO FT.MGET
            FT.PROFILE FT.SEARCH FT.SPELLCHECK FT.SYNDUMP FT.TAGVALS FT._LIST HOST: LOLWUT POST TS.MGET
            TS.MRANGE TS.MREVRANGE TS.QUERYINDEX TS.QUERYLABELS
        ",
    },
    CommandGroup {
        rule: write(&[], ToKeys),
        names: "
            ACL|CAT ACL|DRYRUN ACL|GENPASS ACL|GETUSER ACL|HELP ACL|LIST ACL|USERS ACL|WHOAMI ASKING AUTH
            CLIENT|CACHING CLIENT|CAPA CLIENT|GETNAME CLIENT|GETREDIR CLIENT|HELP CLIENT|ID
            CLIENT|IMPORT-SOURCE CLIENT|INFO CLIENT|NO-EVICT CLIENT|NO-TOUCH CLIENT|REPLY CLIENT|TRACKING
            CLIENT|TRACKINGINFO CLUSTER|COUNT-FAILURE-REPORTS CLUSTER|HELP CLUSTER|INFO CLUSTER|KEYSLOT
            CLUSTER|MYID CLUSTER|MYSHARDID CLUSTER|NODES CLUSTER|REPLICAS CLUSTER|SHARDS CLUSTER|SLAVES
            CLUSTER|SLOTS COMMANDLOG|HELP COMMAND|COUNT COMMAND|DOCS COMMAND|GETKEYS COMMAND|GETKEYSANDFLAGS
            COMMAND|HELP COMMAND|INFO COMMAND|LIST CONFIG|HELP DISCARD ECHO EXEC FT.ADD FT.ALIASADD
            FT.ALIASDEL FT.ALIASUPDATE FT.ALTER FT.CONFIG FT.CREATE FT.DEL FT.DICTADD FT.DICTDEL FT.DROP
            FT.DROPINDEX FT.SYNADD FT.SYNUPDATE FUNCTION|DUMP FUNCTION|HELP FUNCTION|LIST HELLO LATENCY|HELP
            MEMORY|HELP MODULE|HELP MODULE|LIST MULTI OBJECT|HELP PFSELFTEST PSUBSCRIBE PUBLISH PUBSUB|HELP
            PUNSUBSCRIBE QUIT READONLY READWRITE RESET SCRIPT|DEBUG SCRIPT|HELP SCRIPT|SHOW SELECT SENTINEL
            SLOWLOG|HELP SUBSCRIBE TIME UNSUBSCRIBE UNWATCH XGROUP|HELP XINFO|HELP
        ",
    },
    CommandGroup { rule: write(&[UpToEnd { first: 1, step: 2, without: 0 }], Split(AllSucceeded)), names: "MSET" },
    CommandGroup { rule: write(&[UpToEnd { first: 1, step: 3, without: 0 }], Split(AllSucceeded)), names: "JSON.MSET" },
    CommandGroup { rule: read(&[UpToEnd { first: 1, step: 1, without: 0 }], Split(ByPosition)), names: "MGET" },
    CommandGroup { rule: read(&[UpToEnd { first: 1, step: 1, without: 1 }], Split(ByPosition)), names: "JSON.MGET" },
    CommandGroup { rule: read(&[UpToEnd { first: 1, step: 1, without: 0 }], Split(Sum)), names: "EXISTS TOUCH" },
    CommandGroup { rule: write(&[UpToEnd { first: 1, step: 1, without: 0 }], Split(Sum)), names: "DEL UNLINK" },
    CommandGroup {
        rule: write(&[], ToNodes(All, AllSucceeded)),
        names: "
            ACL|DELUSER ACL|LOAD ACL|SAVE ACL|SETUSER CLIENT|PAUSE CLIENT|SETINFO CLIENT|SETNAME
            CLIENT|UNPAUSE COMMANDLOG|RESET CONFIG|RESETSTAT CONFIG|REWRITE CONFIG|SET SCRIPT|FLUSH
            SCRIPT|LOAD SLOWLOG|RESET
        ",
    },
    CommandGroup {
        rule: write(&[], ToNodes(All, ByNode)),
        names: "
            ACL|LOG CLIENT|LIST CLUSTER|LINKS COMMANDLOG|GET CONFIG|GET LASTSAVE LATENCY|DOCTOR LATENCY|GRAPH
            LATENCY|HISTOGRAM LATENCY|HISTORY LATENCY|LATEST ROLE SLOWLOG|GET
        ",
    },
    CommandGroup { rule: write(&[], ToNodes(All, Concatenated)), names: "PUBSUB|CHANNELS PUBSUB|SHARDCHANNELS" },
    CommandGroup { rule: write(&[], ToNodes(All, Sum)), names: "COMMANDLOG|LEN LATENCY|RESET PUBSUB|NUMPAT SLOWLOG|LEN" },
    CommandGroup { rule: write(&[], ToNodes(All, SummedPairs)), names: "PUBSUB|NUMSUB PUBSUB|SHARDNUMSUB" },
    CommandGroup {
        rule: write(&[], ToNodes(Primaries, AllSucceeded)),
        names: "FLUSHALL FLUSHDB FUNCTION|DELETE FUNCTION|FLUSH FUNCTION|LOAD FUNCTION|RESTORE MEMORY|PURGE PING",
    },
    CommandGroup { rule: read(&[], ToNodes(Primaries, AnyNonNil)), names: "RANDOMKEY" },
    CommandGroup {
        rule: write(&[], ToNodes(Primaries, ByNode)),
        names: "
            CLUSTER|GETSLOTMIGRATIONS CLUSTER|SLOT-STATS FUNCTION|STATS INFO MEMORY|DOCTOR MEMORY|MALLOC-STATS
            MEMORY|STATS
        ",
    },
    CommandGroup { rule: read(&[], ToNodes(Primaries, Concatenated)), names: "KEYS" },
    CommandGroup { rule: write(&[], ToNodes(Primaries, Concatenated)), names: "BLESS|LIST" },
    CommandGroup { rule: write(&[], ToNodes(Primaries, LogicalAnd)), names: "SCRIPT|EXISTS" },
    CommandGroup { rule: write(&[], ToNodes(Primaries, Min)), names: "WAIT WAITAOF" },
    CommandGroup { rule: write(&[], ToNodes(Primaries, OneSucceeded)), names: "FUNCTION|KILL SCRIPT|KILL" },
    CommandGroup { rule: read(&[], ToNodes(Primaries, Sum)), names: "DBSIZE" },
    CommandGroup { rule: write(&[], ToNodes(Primaries, Sum)), names: "BLESS|COUNT" },
    CommandGroup { rule: write(&[], ToSlot(2)), names: "CLUSTER|COUNTKEYSINSLOT CLUSTER|FLUSHSLOT CLUSTER|GETKEYSINSLOT" },
    CommandGroup { rule: read(&[], ByCaller(ASK_NODE)), names: "FT.CURSOR" },
    CommandGroup {
        rule: write(&[], ByCaller(ASK_NODE)),
        names: "
            BACKUP BGREWRITEAOF BGSAVE BLESS|SCAN CLIENT|KILL CLIENT|UNBLOCK CLUSTER|ADDSLOTS
            CLUSTER|ADDSLOTSRANGE CLUSTER|BUMPEPOCH CLUSTER|CANCELSLOTMIGRATIONS CLUSTER|DELSLOTS
            CLUSTER|DELSLOTSRANGE CLUSTER|FAILOVER CLUSTER|FLUSHSLOTS CLUSTER|FORGET CLUSTER|MEET
            CLUSTER|MIGRATESLOTS CLUSTER|REPLICATE CLUSTER|RESET CLUSTER|SAVECONFIG CLUSTER|SET-CONFIG-EPOCH
            CLUSTER|SETSLOT CLUSTER|SYNCSLOTS DEBUG FAILOVER HOTKEYS MODULE|LOAD MODULE|LOADEX MODULE|UNLOAD
            MONITOR PSYNC REPLCONF REPLICAOF SAVE SHUTDOWN SLAVEOF SWAPDB SYNC
        ",
    },
    CommandGroup { rule: read(&[], ByCaller(SCAN_ALL)), names: "SCAN" },
    CommandGroup {
        rule: write(&[], AsSubcommand),
        names: "
            ACL BLESS CLIENT CLUSTER COMMAND COMMANDLOG CONFIG FUNCTION HIMPORT LATENCY MEMORY MODULE OBJECT
            PUBSUB SCRIPT SLOWLOG XGROUP XINFO
        ",
    },
];
