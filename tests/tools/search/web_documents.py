"""A small web: what the search engines of the tests have indexed, in English and Chinese, with dates."""

from typing import NamedTuple

__all__ = ["WEB", "WebDocument"]


class WebDocument(NamedTuple):
    """A page of that web."""

    url: str
    title: str
    text: str
    age_days: int


_ROWS = [
    ("https://moe.example/experts", "Mixtures of experts", 3,
     "A mixture of experts routes each token to few feed-forward networks: parameters grow, computation does not."),
    ("https://moe.example/router?id=7", "How a router chooses", 400,
     "The router scores each expert with a softmax; the margin between the best two decides how stable the choice is."),
    ("https://moe.example/balance", "Balancing the load of experts", 40,
     "An auxiliary loss keeps experts equally busy, since an idle expert learns nothing and a busy one is slow."),
    ("https://quant.example/int8", "Eight-bit weights and activations", 12,
     "Quantization to int8 halves memory; activations are scaled per token and weights per output channel."),
    ("https://quant.example/int4", "Four-bit weights in groups", 90,
     "Weight-only quantization with groups of 64 keeps perplexity low when rounding is calibrated by layer."),
    ("https://serve.example/batching", "Continuous batching", 5,
     "A scheduler adds new requests to the running batch after every step: short answers do not wait for long ones."),
    ("https://serve.example/paged", "Paged attention", 700,
     "Keys and values live in pages of fixed size; a table maps positions to pages; prefixes share memory."),
    ("https://serve.example/grpc", "Streaming over gRPC", 200,
     "A server streams deltas of tokens; deadlines and cancellation travel with the call down to the scheduler."),
    ("https://rag.example/bm25", "Ranking by words", 1000,
     "BM25 weighs rare words more and long documents less; its two parameters saturate counts and normalize length."),
    ("https://rag.example/vectors", "Searching by meaning", 30,
     "An encoder maps questions and passages to vectors whose cosine similarity says how well they match."),
    ("https://rag.example/fusion", "Fusing ranks", 33,
     "Reciprocal rank fusion adds one over sixty plus the rank in each list, and needs no calibrated scores."),
    ("https://tools.example/sandbox", "Running programs of a model", 2,
     "A sandbox drops capabilities, filters system calls and limits memory before a model's program starts."),
    ("https://tools.example/ssrf", "Server-side request forgery", 60,
     "A fetcher that resolves a name twice can be led to a private address; pin the checked address instead."),
    ("https://train.example/lora", "Low-rank adapters", 365,
     "Adapters of low rank are trained while the base stays frozen, and are merged into its weights afterwards."),
    ("https://train.example/dedup", "Removing near duplicates", 150,
     "MinHash signatures in bands find pairs of documents with a high Jaccard similarity without comparing them all."),
    ("https://train.example/tokenizer", "Extending a vocabulary", 20,
     "New pieces for a language start as the mean of the embeddings of the pieces that they replace."),
    ("https://food.example/tea", "Brewing green tea", 8,
     "Green tea is brewed with water of seventy degrees for two minutes, since boiling water makes it bitter."),
    ("https://travel.example/lisbon", "Trams of Lisbon", 500,
     "Line 28 climbs the hills of Alfama; its yellow cars have run since the nineteen thirties."),
    ("https://moe.example/zh/experts", "混合专家模型", 4,
     "混合专家模型把每个词元路由到少数几个前馈网络，参数量增加而计算量几乎不变。"),
    ("https://moe.example/zh/router", "路由器如何选择专家", 410,
     "路由器用归一化指数函数给每个专家打分，最好的两个分数之间的间隔决定选择是否稳定。"),
    ("https://quant.example/zh/int8", "八位量化", 11,
     "量化把权重和激活压缩到八位整数，内存减少一半，精度损失很小。"),
    ("https://quant.example/zh/int4", "四位分组量化", 95,
     "四位权重按组缩放，每组六十四个，逐层校准舍入误差可以保持困惑度。"),
    ("https://serve.example/zh/batching", "连续批处理", 6,
     "调度器在每一步之后把新请求加入正在运行的批次，短回答不必等待长回答。"),
    ("https://serve.example/zh/paged", "分页注意力", 690,
     "键和值保存在固定大小的页中，块表把位置映射到页，相同前缀共享内存。"),
    ("https://rag.example/zh/bm25", "按词检索", 900,
     "检索时罕见的词权重更高，较长的文档权重较低，两个参数控制饱和与长度归一化。"),
    ("https://rag.example/zh/citation", "带引用的回答", 15,
     "每个句子都要对应来源中的一段原文，没有依据的句子会被删除，无法回答的问题会被拒绝。"),
    ("https://tools.example/zh/sandbox", "运行模型编写的程序", 1,
     "沙箱在程序开始之前放弃权限、过滤系统调用并限制内存。"),
    ("https://tools.example/zh/ssrf", "服务端请求伪造", 55,
     "抓取网页的程序如果解析域名两次，就可能被引向内网地址，应当固定检查过的地址。"),
    ("https://train.example/zh/dedup", "去除近似重复", 140,
     "最小哈希签名分成若干段，可以找到相似度很高的文档对，而不必逐一比较。"),
    ("https://food.example/zh/tea", "冲泡绿茶", 9,
     "绿茶用七十度的水冲泡两分钟，开水会使茶变苦。"),
    ("https://travel.example/zh/beijing", "北京的胡同", 300,
     "胡同是老城里狭窄的街道，四合院排列在两旁，清晨最安静。"),
]  # fmt: skip

WEB = tuple(WebDocument(url, title, text, age_days) for url, title, age_days, text in _ROWS)
"""All of its pages."""
