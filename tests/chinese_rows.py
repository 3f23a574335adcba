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


def write_lines(file: Path, rows: list[dict[str, object]]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_all(folder: Path) -> None:
    """Twenty rows or more of each kind, in the folder where a page runs."""
    labelled, questions, choices, articles, pairs, rewritten = [], [], [], [], [], []
    dialogues, tickets, tagged, texts = [], [], [], []
    for number in range(20):
        goods, city = GOODS[number % 10], CITIES[number // 2]
        labelled.append([f"包裹{number}还没有送到", "物流"])
        labelled.append([f"订单{number}想申请退款", "退款"])
        sentence = f"第{number}批{goods}存放在{city}的仓库。"
        questions.append([f"第{number}批{goods}在哪里？", sentence, city])
        choices.append([f"第{number}批是什么？", goods, city, "不知道", "A"])
        articles.append([f"{sentence}今天清点完毕。明天发货。", f"{goods}明天发货"])
        pairs.append([f"{goods}在{city}。", f"Lot {number} is there."])
        rewritten.append([f"第{number}批快点发", f"麻烦尽快发出第{number}批，谢谢。"])
        dialogues.append([f"第{number}批到了吗？", f"到了，在{city}。"])
        options = ["物流", "售后"]
        tickets.append({"state": f"{goods}{number}坏了", "question": "转给哪个组？", "options": options, "answer": "售后"})
        tags = ["B-LOC", *["I-LOC"] * (len(city) - 1)]
        characters = [*zip(city, tags, strict=True), *((character, "O") for character in f"有{goods}")]
        tagged.append("\n".join(f"{character}\t{tag}" for character, tag in characters))
        texts.append(sentence)
    write_table(folder / "我的数据.csv", ["文本", "标签"], labelled)
    write_table(folder / "我的表格.csv", ["内容", "类别"], labelled, "gb18030")
    write_table(folder / "我的问题.csv", ["问题", "文章", "答案"], questions)
    write_table(folder / "我的选择题.csv", ["问题", "A", "B", "C", "答案"], choices)
    write_table(folder / "我的文章.csv", ["正文", "摘要"], articles)
    write_table(folder / "我的译文.csv", ["zh", "en"], pairs)
    write_table(folder / "我的改写.csv", ["输入", "输出"], rewritten)
    write_table(folder / "我的对话.csv", ["问题", "回答"], dialogues)
    write_lines(folder / "我的工单.jsonl", tickets)
    (folder / "我的实体.txt").write_text("\n\n".join(tagged) + "\n", encoding="utf-8")
    (folder / "我的语料.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
