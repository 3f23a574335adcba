"""What is put in place of letters, names and Chinese characters."""

from __future__ import annotations

# Keys to the left and right, and above, on the keyboard with QWERTY.
NEIGHBOURS = {
    **{"q": "wa", "w": "qes", "e": "wrd", "r": "etf", "t": "ryg", "y": "tuh", "u": "yij", "i": "uok", "o": "ipl"},
    **{"p": "ol", "a": "sq", "s": "adw", "d": "sfe", "f": "dgr", "g": "fht", "h": "gjy", "j": "hku", "k": "jli"},
    **{"l": "ko", "z": "xs", "x": "zcd", "c": "xvf", "v": "cbg", "b": "vnh", "n": "bmj", "m": "nk"},
}

_COMMON = """
James John Robert Michael William David Richard Joseph Thomas Charles Daniel Matthew Anthony Mark Paul Steven Andrew
George Edward Brian Kevin Jason Eric Peter Adam Henry Jack Tom Ben Sam Mary Patricia Jennifer Linda Elizabeth Barbara
Susan Jessica Sarah Karen Lisa Nancy Betty Margaret Sandra Ashley Emily Laura Anna Emma Julia Maria Kate Alice Jane Lucy
"""
_RARE = """
Oluwaseun Thandiwe Ikaika Saoirse Tadhg Zsofia Yevhen Mirzo Aroha Nokomis Tsering Xochitl Ingvild Bogumil Eluned Khadija
Ravshan Wangari Torunn Amrit
"""
_COMMON_CHINESE = """
王伟 张伟 李伟 王芳 李娜 张敏 李静 王静 刘伟 王丽 张丽 李强 张强 刘洋 王勇 小明 小红 小李 小王 小张
"""
_RARE_CHINESE = "尉迟砚 闾丘禾 濮阳筝 亓官昱 令狐砺 澹台芮 钟离濯 宓弈 阚翀 逄玥"
COMMON_NAMES, COMMON_CHINESE_NAMES = frozenset(_COMMON.split()), tuple(_COMMON_CHINESE.split())
RARE_NAMES, RARE_CHINESE_NAMES = tuple(_RARE.split()), tuple(_RARE_CHINESE.split())

# Characters that sound the same, tones aside, and are often typed for each other.
_SETS = (
    "的地得 在再 做作坐座 他她它 那哪 以已 像象向 需须虚 帐账 即既 决绝 带戴代 副付负复 报抱 和合 长常 会回 事是 "
    "有又 为位未 这着 只之 去趣 好号 买卖 历力利 练炼 密蜜 气汽 清轻 少烧 生声升 时实 市式试 现线 先鲜 新心 元圆 "
    "知支 中终钟 住助 注祝 包饱 保宝 分份 各个 公工 关管 机鸡 几己 家加 件见 进近 经京 就旧 快块 里理 没美 明名 期其 "
    "原园 愿院"
)


def _by_character() -> dict[str, str]:
    """Character -> all others that it stands with."""
    others: dict[str, str] = {}
    for group in _SETS.split():
        for character in group:
            others[character] = others.get(character, "") + group.replace(character, "")
    return others


HOMOPHONES = _by_character()
