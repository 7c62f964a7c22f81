//! Several connections in turns: waits in order of arrival, transactions that are disturbed, subscriptions, kills.

/// The connection, and what it sends; `ID1` stands for the id of that connection.
pub(crate) type Step = (usize, &'static str);

pub(crate) const SCENES: &[(&str, &[Step])] = &[
    (
        "those who wait for a list are served in order of arrival",
        &[
            (1, "BLPOP q1 q2 0"), (2, "BRPOP q2 0"), (3, "BLMOVE q2 q3 LEFT RIGHT 0"), (0, "RPUSH q2 a"), (0, "RPUSH q2 b c"),
            (0, "LRANGE q3 0 -1"), (1, "BLMPOP 0 2 q4 q5 LEFT COUNT 2"), (2, "BRPOPLPUSH q4 q5 0"), (0, "LPUSH q4 x y z"),
            (0, "LRANGE q5 0 -1"), (0, "LRANGE q4 0 -1"), (0, "DEL q4 q5"), (1, "BLPOP q6 0"), (0, "SADD q6 a"), (0, "DEL q6"),
            (0, "MULTI"), (0, "RPUSH q6 a"), (0, "DEL q6"), (0, "EXEC"), (0, "RPUSH q6 b"),
        ],
    ),
    (
        "those who wait for scores and entries are served, too",
        &[
            (1, "BZPOPMIN z1 z2 0"), (2, "BZPOPMAX z2 0"), (3, "BZMPOP 0 1 z2 MIN COUNT 2"), (0, "ZADD z2 1 a 2 b 3 c 4 d"), (0, "ZCARD z2"),
            (1, "XREAD BLOCK 0 STREAMS s1 s2 $ $"), (0, "XADD s2 1-1 f v"), (0, "XGROUP CREATE s2 g $"),
            (2, "XREADGROUP GROUP g c1 BLOCK 0 STREAMS s2 >"), (3, "XREADGROUP GROUP g c2 BLOCK 0 COUNT 1 STREAMS s2 >"), (0, "XADD s2 2-1 f v"),
            (0, "XADD s2 3-1 f w"), (0, "XPENDING s2 g"),
        ],
    ),
    (
        "a wait ends by CLIENT UNBLOCK, and what was sent meanwhile follows",
        &[
            (1, "BLPOP q1 0"), (1, "PING"), (1, "ECHO x"), (0, "CLIENT UNBLOCK ID1"), (2, "BLPOP q1 0"), (0, "CLIENT UNBLOCK ID2 ERROR"),
            (0, "CLIENT UNBLOCK ID2"), (2, "XREAD BLOCK 0 STREAMS s9 $"), (0, "CLIENT UNBLOCK ID2 TIMEOUT"),
        ],
    ),
    (
        "a transaction whose keys were changed is not carried out",
        &[
            (1, "WATCH w1 w2"), (0, "SET w2 x"), (1, "MULTI"), (1, "SET w1 y"), (1, "EXEC"), (1, "GET w1"), (1, "WATCH w1"), (1, "MULTI"),
            (1, "SET w1 y"), (1, "EXEC"), (1, "WATCH w1"), (0, "DEL w1"), (1, "UNWATCH"), (1, "MULTI"), (1, "INCR n"), (1, "EXEC"),
            (1, "WATCH w9"), (0, "FLUSHALL"), (1, "MULTI"), (1, "PING"), (1, "EXEC"), (1, "WATCH n"), (1, "SET n 1"), (1, "MULTI"), (1, "EXEC"),
            (1, "MULTI"), (1, "NOTHING"), (1, "SET n 2"), (1, "EXEC"), (1, "MULTI"), (1, "INCR n"), (1, "LPUSH n x"), (1, "BLPOP none 0"),
            (1, "BLMOVE none none LEFT LEFT 0"), (1, "WATCH n"), (1, "MULTI"), (1, "EXEC"), (1, "MULTI"), (1, "DISCARD"), (1, "DISCARD"),
        ],
    ),
    (
        "messages reach those who have subscribed",
        &[
            (1, "SUBSCRIBE c1 c2"), (1, "PSUBSCRIBE c*"), (2, "PSUBSCRIBE ?1 *"), (3, "SSUBSCRIBE c1"), (0, "PUBLISH c1 hello"), (0, "SPUBLISH c1 there"),
            (0, "PUBSUB CHANNELS"), (0, "PUBSUB NUMSUB c1 c3"), (0, "PUBSUB NUMPAT"), (0, "PUBSUB SHARDCHANNELS"), (1, "PING"), (1, "PING x"),
            (1, "GET x"), (1, "UNSUBSCRIBE c1"), (1, "UNSUBSCRIBE"), (1, "UNSUBSCRIBE"), (1, "PUNSUBSCRIBE"), (1, "GET x"), (2, "RESET"),
            (2, "GET x"), (3, "SUNSUBSCRIBE c1"), (3, "SUNSUBSCRIBE"), (0, "PUBLISH c1 nobody"), (1, "SUBSCRIBE c1"), (1, "QUIT"),
        ],
    ),
    (
        "replies can be turned off, and connections killed",
        &[
            (1, "CLIENT REPLY SKIP"), (1, "PING"), (1, "ECHO a"), (1, "CLIENT REPLY OFF"), (1, "PING"), (1, "CLIENT REPLY ON"), (1, "ECHO b"),
            (1, "CLIENT SETNAME me"), (1, "CLIENT GETNAME"), (1, "SELECT 3"), (1, "SET k v"), (0, "DBSIZE"), (1, "RESET"), (1, "CLIENT GETNAME"),
            (1, "GET k"), (0, "CLIENT KILL ID ID2"), (0, "CLIENT KILL TYPE pubsub"), (1, "HELLO 3 SETNAME you"), (1, "CLIENT GETNAME"),
            (1, "HELLO 2 SETNAME a\tb"), (1, "QUIT"),
        ],
    ),
    (
        "a login is asked for",
        &[
            (0, "AUTH x"), (0, "CONFIG SET requirepass secret"), (0, "PING"), (4, "PING"), (4, "HELLO 3"), (4, "NOTHING"), (4, "AUTH wrong"),
            (4, "HELLO 2 AUTH default wrong"), (4, "GET"), (4, "AUTH default secret"), (4, "PING"), (5, "HELLO 3 AUTH default secret SETNAME me"),
            (5, "CLIENT GETNAME"), (5, "ACL WHOAMI"), (5, "RESET"), (5, "PING"), (5, "AUTH secret"), (5, "PING"), (0, "CONFIG SET requirepass ''"),
        ],
    ),
];

/// Bytes that are no command, each on a connection of its own that is closed after the reply.
pub(crate) const GARBAGE: &[&[u8]] = &[
    b"*x\r\n", b"*1\r\nPING\r\n", b"*1\r\n$x\r\n", b"*1\r\n$-1\r\n", b"*99999999999999\r\n", b"*1\r\n$999999999999\r\n", b"*2147483648\r\n",
    b"PING \"x\r\n", b"PING 'x'y\r\n", b"PING x\r\nECHO \"a\\x41\\n\"\r\n\r\n*0\r\n*-1\r\nQUIT\r\n", b"  \r\nget 'it\\'s'\r\nQUIT x\r\n", b"*1\r\n:1\r\n",
    b"*01\r\n", b"*1\r\n$04\r\nPING\r\n",
];
