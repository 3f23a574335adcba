"""The files that the Chinese pages call the reader's own."""

from __future__ import annotations

import csv
import json
from pathlib import Path

GOODS = ("雨伞", "台灯", "书包", "水壶", "键盘", "围巾", "闹钟", "剪刀", "地毯", "镜子")
CITIES = ("北京", "上海", "杭州", "成都", "西安", "苏州", "昆明", "青岛", "厦门", "长沙")


def write_table(file: Path, header: list[str], rows: list[list[str]], encoding: str = "utf-8") -> None:
    with open(file, "w", encoding=encoding, newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(header)
        writer.writerows(rows)


def goods_and_cities() -> list[tuple[int, str, str]]:
    """Number, goods and city of each of twenty lots, no two of them alike."""
    return [(number, GOODS[number % 10], CITIES[number // 2]) for number in range(20)]


def write_classification(folder: Path) -> None:
    rows = []
    for number, _, _ in goods_and_cities():
        rows.append([f"包裹{number}还没有送到", "物流"])
        rows.append([f"订单{number}想申请退款", "退款"])
    write_table(folder / "我的数据.csv", ["文本", "标签"], rows)
    write_table(folder / "我的表格.csv", ["内容", "类别"], rows, "gb18030")


def write_reading(folder: Path) -> None:
    """Questions on a text, with an answer from it or with choices."""
    questions, choices, tickets = [], [], []
    for number, goods, city in goods_and_cities():
        text = f"第{number}批{goods}存放在{city}的仓库。"
        questions.append([f"第{number}批{goods}在哪里？", text, city])
        choices.append([f"第{number}批是什么？", goods, city, "不知道", "A"])
        ticket = {"state": f"{goods}{number}坏了", "question": "转给哪个组？", "options": ["物流", "售后"]}
        tickets.append(json.dumps({**ticket, "answer": "售后"}, ensure_ascii=False))
    write_table(folder / "我的问题.csv", ["问题", "文章", "答案"], questions)
    write_table(folder / "我的选择题.csv", ["问题", "A", "B", "C", "答案"], choices)
    (folder / "我的工单.jsonl").write_text("\n".join(tickets), encoding="utf-8")


def write_pairs(folder: Path) -> None:
    """Texts with what a model should write for them, and texts alone."""
    articles, translations, rewritten, dialogues, texts = [], [], [], [], []
    for number, goods, city in goods_and_cities():
        text = f"第{number}批{goods}存放在{city}的仓库。"
        texts.append(text)
        articles.append([f"{text}今天清点完毕。明天发货。", f"{goods}明天发货"])
        translations.append([f"{goods}在{city}。", f"Lot {number} is there."])
        rewritten.append([f"第{number}批快点发", f"麻烦尽快发出第{number}批，谢谢。"])
        dialogues.append([f"第{number}批到了吗？", f"到了，在{city}。"])
    write_table(folder / "我的文章.csv", ["正文", "摘要"], articles)
    write_table(folder / "我的译文.csv", ["zh", "en"], translations)
    write_table(folder / "我的改写.csv", ["输入", "输出"], rewritten)
    write_table(folder / "我的对话.csv", ["问题", "回答"], dialogues)
    (folder / "我的语料.txt").write_text("\n".join(texts), encoding="utf-8")


def write_entities(folder: Path) -> None:
    sentences = []
    for _, goods, city in goods_and_cities():
        tags = ["B-LOC", *["I-LOC"] * (len(city) - 1), *["O"] * (len(goods) + 1)]
        sentences.append("\n".join(map("\t".join, zip(f"{city}有{goods}", tags, strict=True))))
    (folder / "我的实体.txt").write_text("\n\n".join(sentences), encoding="utf-8")


def write_all(folder: Path) -> None:
    """Twenty rows or more of each kind, in the folder where a page runs."""
    write_classification(folder)
    write_reading(folder)
    write_pairs(folder)
    write_entities(folder)
