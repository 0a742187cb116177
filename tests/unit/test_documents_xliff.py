import pytest
from lxml import etree

from document_trips import document, itself, pseudo, texts, written
from yunmo.apps.translate.documents.xliff import XliffFormat
from yunmo.apps.translate.segments import segment
from yunmo.core.errors import InvalidRequest

OLD = """<?xml version="1.0" encoding="utf-8"?>
<!-- made by a tool -->
<xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2">
  <file original="a.txt" source-language="en" datatype="plaintext">
    <header><note>of the file</note></header>
    <body>
      <group id="g">
        <trans-unit id="one">
          <source>Hello <g id="1" ctype="bold">big &amp; <x id="2"/></g>
            world<ph id="3">{0}</ph></source>
          <note>On the  door</note>
        </trans-unit>
        <trans-unit id="two"><source>Done</source><target state="final">Fertig</target></trans-unit>
        <trans-unit id="three">
          <source>Waits</source>
          <target state="new">Waits</target>
          <alt-trans><source>Other</source><target>Anders</target></alt-trans>
        </trans-unit>
        <trans-unit id="four" translate="no"><source>Never</source></trans-unit>
        <trans-unit id="five" approved="yes"><source>Approved</source></trans-unit>
        <trans-unit id="six" xml:space="preserve"><source> Kept
  space <mrk mtype="protected">Yunmo</mrk></source><target/></trans-unit>
        <trans-unit id="seven"><source>42</source></trans-unit>
        <trans-unit id="eight"><source>One. Two.</source><seg-source><mrk mtype="seg" mid="1">One.</mrk> Two.</seg-source></trans-unit>
      </group>
    </body>
  </file>
</xliff>
"""

NEW = """<xliff xmlns="urn:oasis:names:tc:xliff:document:2.0" version="2.1" srcLang="en" trgLang="fr">\r
 <file id="f1" original="x">\r
  <unit id="u1">\r
   <notes><note id="n1">A hint</note></notes>\r
   <segment id="s1">\r
    <source>Press <pc id="1">the <ph id="2" disp="icon"/></pc> <mrk id="m" translate="no">Key</mrk> now<![CDATA[ & <here>]]></source>\r
   </segment>\r
   <ignorable><source> </source></ignorable>\r
   <segment state="final"><source>Done</source><target>Fait</target></segment>\r
   <segment><source>Empty <sc id="3"/>x<ec startRef="3"/></source><target xml:lang="fr"></target></segment>\r
  </unit>\r
  <unit id="u2" translate="no"><segment><source>Never</source></segment></unit>\r
 </file>\r
</xliff>"""


def content(data, name):
    """Each element of a name with all that is in it, without the namespaces' declarations."""
    root = etree.fromstring(data.encode() if isinstance(data, str) else data)
    return [
        b"".join([(element.text or "").encode(), *(etree.tostring(child) for child in element)]).decode()
        for element in root.iter(f"{{*}}{name}")
    ]


def test_sources_without_a_target_are_units(tmp_path):
    old, new = document(XliffFormat(), OLD, tmp_path), document(XliffFormat(), NEW, tmp_path)
    assert texts(old) == ["Hello big &  world", "Waits", " Kept\n  space ", "One. Two."]
    assert [unit.note for unit in old.units] == ["one; On the door", "three", "six", "eight"]
    assert [(tag.id, tag.kind, tag.text) for tag in old.units[0].segment.tags] == [
        (1, "open", '<g id="1" ctype="bold">'), (2, "alone", '<x id="2"/>'), (1, "close", "</g>"), (3, "alone", '<ph id="3">{0}</ph>'),
    ]  # fmt: skip
    assert texts(new) == ["Press the   now & <here>", "Empty x"]
    assert new.units[0].note == "u1; A hint"


@pytest.mark.parametrize("text", [OLD, NEW])
def test_a_file_without_translations_is_the_same_bytes(tmp_path, text):
    assert written(document(XliffFormat(), text, tmp_path), {}, tmp_path) == text.encode()


@pytest.mark.parametrize("text", [OLD, NEW])
def test_a_translation_by_itself_fills_the_targets_with_the_sources(tmp_path, text):
    read = document(XliffFormat(), text, tmp_path)
    done = written(read, itself(read), tmp_path)
    assert content(done, "source") == content(text, "source")
    again = document(XliffFormat(), done, tmp_path)
    assert texts(again) == []
    targets = [" ".join(target.split()) for target in content(done, "target")]
    assert all(
        any(" ".join(source.split()) == target for source in content(text, "source")) or target in {"Fertig", "Fait", "Anders"}
        for target in targets
    )


def test_targets_stand_beside_their_sources_and_nothing_else_changes(tmp_path):
    read = document(XliffFormat(), OLD, tmp_path)
    done = written(read, pseudo(read), tmp_path, "zh-Hans").decode()
    hello = '\n          <target>HHeelllloo <g id="1" ctype="bold">bbiigg &amp; <x id="2"/></g> wwoorrlldd<ph id="3">{0}</ph></target>\n          <note>'
    assert done == (
        OLD.replace("\n          <note>", hello)
        .replace('<target state="new">Waits', '<target state="translated">WWaaiittss')
        .replace("</source><target/>", '</source><target> KKeepptt\n  ssppaaccee <mrk mtype="protected">Yunmo</mrk></target>')
        .replace("</seg-source>", "</seg-source><target>OOnnee. TTwwoo.</target>")
        .replace("<file original", '<file target-language="zh-Hans" original')
    )
    read = document(XliffFormat(), NEW, tmp_path)
    done = written(read, {"2": read.units[1].segment}, tmp_path, "fr").decode()
    assert done == NEW.replace('<target xml:lang="fr">', '<target xml:lang="fr">Empty <sc id="3"/>x<ec startRef="3"/>')
    done = written(read, {"1": segment([*read.units[0].segment.tags, "ÿ\x02<"])}, tmp_path, "de").decode()
    assert 'trgLang="de"' in done
    assert (
        '\r\n    <target><pc id="1"><ph id="2" disp="icon"/></pc><mrk id="m" translate="no">Key</mrk>ÿ&lt;</target>\r\n   </segment>'
        in done
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<xliff version='1.2'><file>", "well-formed"),
        ("<tmx version='1.4'/>", "not XLIFF"),
        ("<xliff version='3.0'/>", "not XLIFF"),
        ("<!DOCTYPE xliff [<!ENTITY a 'b'>]><xliff version='1.2'>&a;</xliff>", "entities"),
    ],
)
def test_what_is_no_xliff_is_refused(tmp_path, text, said):
    with pytest.raises(InvalidRequest, match=said):
        document(XliffFormat(), text, tmp_path)


def test_a_lost_code_is_refused(tmp_path):
    read = document(XliffFormat(), OLD, tmp_path)
    with pytest.raises(InvalidRequest, match="tag"):
        read.write({"1": segment(["x"])}, "de", tmp_path / "out")
